"""What the nodes ask of the broker and of the routing table: only that, so that a test can put a fake in its place."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Literal, Protocol

from broker.answer import Answer
from broker.position import START, Position
from broker.record import Record, Status
from broker.request import GenerationRequest
from broker.routing import Vendor
from broker.submission import Submission
from broker.tail_items import Batch, TailItem, Turn, Viewer
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

    @property
    def restart(self) -> int:
        """The seq of the last event that voided what came before it; 0 = none has."""
        ...


class Run(Protocol):
    """What a chat stands for."""

    @property
    def generation(self) -> str:
        """Its id."""
        ...

    @property
    def settled(self) -> bool:
        """Its end has been written to some reader, or it was stopped."""
        ...


class Chats(Protocol):
    """The chats of the AI SDK; ``broker.chats.Chats`` says what each method does."""

    async def begin(self, tenant: str, chat: str, generation: str, life_ms: int) -> None:
        """From now on the chat stands for this generation."""
        ...

    async def current(self, tenant: str, chat: str) -> Run | None:
        """What it stands for."""
        ...

    async def settle(self, generation: str) -> None:
        """Nobody waits for this one's end any more."""
        ...


class Door(Protocol):
    """The broker as a node sees it; ``broker.client.Broker`` says what each method does and raises."""

    @property
    def chats(self) -> Chats:
        """Which generations the chats stand for."""
        ...

    async def submit(
        self,
        request: GenerationRequest,
        *,
        tenant: str = "default",
        idempotency_key: str | None = None,
        retry: int | None = None,
    ) -> Submitted:
        """Commit a generation and queue it."""
        ...

    async def get(self, generation: str, *, tenant: str = "default", output: bool = True) -> Record:
        """Its record."""
        ...

    async def answer(self, generation: str, *, tenant: str = "default") -> Answer:
        """What was asked and the answer so far."""
        ...

    async def wait(self, generation: str, timeout_s: float, *, tenant: str = "default", output: bool = True) -> Record:
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

    async def submission(self, generation: str, *, tenant: str = "default") -> Submission:
        """What was asked for."""
        ...

    def prefix(self, generation: str, last: Position) -> AsyncGenerator[Batch, None]:
        """Its log from the start on, at least up to ``last``."""
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

    def vendor(self, provider: str) -> Vendor:
        """What a provider speaks."""
        ...

    def known_models(self) -> list[str]:
        """Full names."""
        ...
