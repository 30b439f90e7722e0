"""What a tail yields, and the readers it can write to by itself."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import msgspec

from broker.events import Entry
from broker.position import Position


class Batch(msgspec.Struct, frozen=True):
    """Entries that continue the reader's position densely; ``live`` = just written, not replayed.

    All readers of one log may be handed the same one: whoever encodes it leaves the bytes in ``encoded``.
    """

    entries: list[Entry]
    live: bool
    ended: bool = False
    """The last entry is the terminal event."""
    encoded: dict[str, Any] = {}
    """What a form of these entries' bytes is called -> the bytes: for the readers behind."""


class Live(msgspec.Struct, frozen=True):
    """The reader has reached the tail of a log that has not ended: said once."""


class Reset(msgspec.Struct, frozen=True):
    """The reader's position is not in this log: it must clear what it has; the whole log follows."""

    reason: str


TailItem: TypeAlias = Batch | Live | Reset


class Viewer(Protocol):
    """A reader that can be written to without waiting: what reaches it so costs no wake of its task."""

    def take(self, batch: Batch) -> bool:
        """Write these entries now, or answer False: then the reader reads the log at its own pace. Never raises."""
        ...


class Turn(Protocol):
    """One of several readers that share one way out: none of them may hold what it can't write yet."""

    stood: Position | None
    """Where the reader left the batch it was given last, so that others come to their turns; None = it took all."""

    async def begin(self) -> None:
        """Return when it is this reader's turn to read a page and to write it; who had a turn goes to the end."""
        ...

    async def begin_at_once(self) -> bool:
        """Have a turn if nobody else has one or waits for it, and a write need not wait: for entries that were heard.

        False = not now: they must be let go of, and read from the log when it is this reader's turn.
        """
        ...

    def done(self) -> None:
        """Let the next one have its turn. Does no harm where this reader has none."""
        ...
