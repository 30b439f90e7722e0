"""What is known of a generation from its submit on, and never changes: what formats repeat of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from broker.request import StoredRequest, Wire


@dataclass(frozen=True, slots=True)
class Submission:
    """``created_at`` in Unix seconds; ``request`` is None once the log has gone."""

    id: str
    model: str
    """As the client named it."""
    created_at: float
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    request: StoredRequest | None = None

    @property
    def wire(self) -> Wire | None:
        """In whose dialect it was asked; None = in our own."""
        return self.request.wire if self.request else None

    def id_as(self, prefix: str) -> str:
        """The id as another wire has it: ``gen_x`` is its ``resp_x``, ``msg_x`` or ``chatcmpl-x``."""
        return prefix + self.id.removeprefix("gen_")
