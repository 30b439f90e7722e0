"""The record of a generation: what ``GET /v1/generations/{id}`` answers. Contract section 3; times are Unix seconds."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from broker.values import ErrorInfo, FinishReason, Timing, Usage

Status: TypeAlias = Literal["queued", "running", "completed", "failed", "cancelled"]
ENDED: frozenset[str] = frozenset({"completed", "failed", "cancelled"})


class ToolCall(msgspec.Struct, frozen=True):
    """One tool call; ``arguments`` is JSON text once the call is ``complete``."""

    call_id: str
    name: str
    arguments: str
    complete: bool = False


class Output(msgspec.Struct, frozen=True):
    """The answer so far, folded from the log: of the last attempt that was not void."""

    text: str = ""
    reasoning: str = ""
    refusal: str | None = None
    tool_calls: list[ToolCall] = []


class Links(msgspec.Struct, frozen=True):
    """Where to go from here; paths on the same host."""

    self: str
    events: str
    cancel: str


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One generation. ``output`` is null once the log has gone, and in lists."""

    id: str
    object: Literal["generation"] = "generation"
    status: Status
    model: str
    created_at: float
    started_at: float | None = None
    first_token_at: float | None = None
    finished_at: float | None = None
    attempt: int = 0
    last_event_id: str | None = None
    output: Output | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    timing: Timing | None = None
    error: ErrorInfo | None = None
    metadata: dict[str, str] = {}
    links: Links

    @property
    def ended(self) -> bool:
        """Whether the terminal event has been written."""
        return self.status in ENDED

    def to_json(self) -> bytes:
        """The body of the answer."""
        return msgspec.json.encode(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for instance to stand in an event."""
        return msgspec.to_builtins(self)


def links(generation: str) -> Links:
    """The three links of a generation."""
    base = f"/v1/generations/{generation}"
    return Links(self=base, events=f"{base}/events", cancel=f"{base}/cancel")


def created_record(generation: str, model: str, created_ms: int, metadata: dict[str, str]) -> Record:
    """The record as it stands in ``generation.created``: the epoch of the first entry is the time of its creation."""
    return Record(
        id=generation,
        status="queued",
        model=model,
        created_at=created_ms / 1000,
        last_event_id=f"{created_ms}-1",
        output=Output(),
        metadata=metadata,
        links=links(generation),
    )
