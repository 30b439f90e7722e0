"""The reader's logic without IO: pages and notices in, dense ordered entries out.

A notice is a hint and the log is the truth: dropping every notice costs latency, never an event. Pages are read from
the reader's position *inclusive*; a first entry that is not the position proves that the position is not in this log.
PROTOCOL.md, clauses READ-1 … READ-7.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from broker.errors import LogDamaged
from broker.events import TERMINAL_TYPES, Entry
from broker.position import START, Position
from broker.tail_items import Batch


@dataclass(frozen=True, slots=True)
class Page:
    """What one read found: the entries from the asked position, inclusive, and how the log stood just before."""

    entries: list[Entry]
    full: bool
    """As many entries as were asked for: there may be more."""
    ended: bool
    """The log had its terminal event."""


@dataclass(frozen=True, slots=True)
class Step:
    """What the reader may do after a page."""

    kind: Literal["entries", "reset", "ahead"]
    """``ahead``: the position lies beyond the tail of a log that has not ended; its writer may be repairing it."""
    entries: list[Entry] = field(default_factory=list[Entry])
    at_tail: bool = False


class Shared(Protocol):
    """A page that other readers read, too: :class:`broker.pages.SharedPage`."""

    @property
    def kind(self) -> Literal["entries", "nothing", "foreign"]:
        """What was found at the position."""
        ...

    @property
    def batch(self) -> Batch:
        """The entries behind it."""
        ...

    @property
    def last(self) -> Position:
        """The position of the last one."""
        ...

    @property
    def log_ended(self) -> bool:
        """The log had its terminal event."""
        ...


class Follower:
    """One reader of one log."""

    __slots__ = ("ended", "position")

    def __init__(self, after: Position = START) -> None:
        self.position = after
        self.ended = False
        """The reader has the terminal event."""

    def on_page(self, page: Page, *, patient: bool = True) -> Step:
        """Take a page that was read from :attr:`position` inclusive.

        ``patient``: answer ``ahead`` for a position beyond the tail, rather than ``reset``.

        Raises:
            LogDamaged: the page has a hole.
        """
        entries = page.entries
        if self.position != START:
            if not entries and not page.ended and patient:
                return Step("ahead")
            if not entries or entries[0].position != self.position:
                self.position = START
                return Step("reset")
            self.ended = isinstance(entries[0].event, TERMINAL_TYPES)
            entries = entries[1:]
        return Step("entries", self._take(entries), at_tail=not page.full)

    def on_shared(self, page: Shared, *, patient: bool = True) -> Literal["entries", "reset", "ahead"]:
        """Take a page that was read, and checked, from :attr:`position` inclusive; see :meth:`on_page`."""
        if page.kind == "nothing" and not page.log_ended and patient:
            return "ahead"
        if page.kind != "entries":
            self.position = START
            return "reset"
        self.position, self.ended = page.last, page.batch.ended
        return "entries"

    def on_notice(self, entries: list[Entry], previous: Position) -> list[Entry] | None:
        """Take the entries of a notice that follow the position; ``None`` = read a page.

        ``previous`` is the entry that stands before them in the log: what shares no entry with this reader's past may
        be another history.
        """
        first, last = entries[0].position, entries[-1].position
        if previous == self.position:
            return self._take(entries)
        if first.epoch != self.position.epoch or first.seq > self.position.seq:
            return None
        if last.seq <= self.position.seq:
            return []
        return self._take(entries[self.position.seq + 1 - first.seq :])

    def _take(self, entries: list[Entry]) -> list[Entry]:
        position = self.position
        for entry in entries:
            here = entry.position
            if self.ended or here.seq != position.seq + 1 or here.epoch < position.epoch:
                raise LogDamaged(f"the log goes on with {here} after {position}")
            position = here
            self.ended = isinstance(entry.event, TERMINAL_TYPES)
        self.position = position
        return entries
