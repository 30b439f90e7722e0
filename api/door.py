"""What the nodes ask of the broker and of the routing table: only that, so that a test can put a fake in its place."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Literal, Protocol

from broker.position import START, Position
from broker.record import Record, Status
from broker.request import GenerationRequest
from broker.tail_items import TailItem, Turn, Viewer
from broker.telemetry import Fleet

Replay = Literal["merged", "exact"]


class Submitted(Protocol):
    """A generation that is committed."""

    @property
    def record(self) -> Record:
        """The generation's record."""
        ...

    @property
    def replayed(self) -> bool:
        """Whether an earlier submit with the same key made it."""
        ...


class RecordPage(Protocol):
    """A page of a list."""

    @property
    def records(self) -> Sequence[Record]:
        """Newest first, without outputs."""
        ...

    @property
    def next_cursor(self) -> str | None:
        """Where the next page begins; None on the last one."""
        ...


class Stat(Protocol):
    """Where a log stands."""

    @property
    def top(self) -> Position:
        """The position of its last entry."""
        ...

    @property
    def ended(self) -> bool:
        """Whether that is the terminal event."""
        ...


class Door(Protocol):
    """The broker as a node sees it; ``broker.client.Broker`` says what each method does and raises."""

    async def submit(
        self, request: GenerationRequest, *, tenant: str = "default", idempotency_key: str | None = None
    ) -> Submitted:
        """Commit a generation and queue it."""
        ...

    async def get(self, generation: str, *, tenant: str = "default", output: bool = True) -> Record:
        """Its record."""
        ...

    async def wait(self, generation: str, timeout_s: float, *, tenant: str = "default") -> Record:
        """Its record, once it has ended or the time is up."""
        ...

    async def list(
        self, *, tenant: str = "default", status: Status | None = None, limit: int = 20, cursor: str | None = None
    ) -> RecordPage:
        """A page of a tenant's generations."""
        ...

    async def cancel(self, generation: str, *, tenant: str = "default") -> Record:
        """Ask for its end."""
        ...

    async def delete(self, generation: str, *, tenant: str = "default") -> None:
        """End and erase it."""
        ...

    async def stat(self, generation: str, *, tenant: str = "default") -> Stat:
        """Where its log stands."""
        ...

    def tail(
        self,
        generation: str,
        after: Position = START,
        *,
        tenant: str = "default",
        replay: Replay = "merged",
        hold_s: float | None = None,
        viewer: Viewer | None = None,
        turn: Turn | None = None,
        stat: Any = None,
    ) -> AsyncGenerator[TailItem, None]:
        """Its log after a position, live, to its end."""
        ...

    async def ping(self) -> None:
        """Raise ``LogUnavailable`` when Redis is away."""
        ...

    async def fleet_stats(self) -> Fleet:
        """Counters of the whole fleet."""
        ...


class Models(Protocol):
    """The routing table as a node sees it."""

    def resolve(self, model: str) -> tuple[str, str]:
        """Provider and name. Raises ``UnknownModel``."""
        ...

    def known_models(self) -> list[str]:
        """Full names."""
        ...
