"""What the fake door keeps, and the answers it gives."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from broker.answer import Answer
from broker.content import ContentFold
from broker.events import TERMINAL_TYPES, Cancelled, Completed, Entry, Event, Failed, Started
from broker.fold import OutputFold
from broker.position import Position
from broker.record import Output, Record, Status
from broker.stats import FleetStats
from broker.submission import Submission
from broker.tail_items import Batch, Viewer

EPOCH = 1_700_000_000_000


@dataclass
class Log:
    """One generation."""

    tenant: str
    record: Record
    entries: list[Entry]
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    lost: bool = False
    expired: bool = False

    @property
    def top(self) -> Position:
        """The last entry's position."""
        return self.entries[-1].position

    @property
    def ended(self) -> bool:
        """Whether the last entry is terminal."""
        return isinstance(self.entries[-1].event, TERMINAL_TYPES)

    @property
    def restart(self) -> int:
        """The seq of the last entry that voids what came before it."""
        started = [(e.position.seq, e.event) for e in self.entries if isinstance(e.event, Started)]
        return max((seq for seq, event in started if event.mode == "restart"), default=0)

    def output(self) -> Output:
        """The answer so far."""
        fold = OutputFold()
        for entry in self.entries:
            fold.apply(entry.event)
        return fold.output()

    def answer(self, submission: Submission) -> Answer:
        """What it holds."""
        fold = ContentFold()
        for entry in self.entries:
            fold.apply(entry.event)
        return Answer(submission, self.record, fold.blocks(), fold.provider, fold.attempt, fold.terminal)


@dataclass(frozen=True)
class FakeSubmitted:
    """See ``api.door``."""

    record: Record
    replayed: bool


@dataclass(frozen=True)
class FakePage:
    """See ``api.door``."""

    records: list[Record]
    next_cursor: str | None


@dataclass(frozen=True)
class FakeStat:
    """See ``api.door``."""

    top: Position
    ended: bool
    restart: int = 0


def advance(record: Record, event: Event, top: Position) -> Record:
    """The record after one more event."""
    status: Status = record.status
    match event:
        case Started():
            status = "running"
        case Completed():
            status = "completed"
        case Failed():
            status = "failed"
        case Cancelled():
            status = "cancelled"
        case _:
            pass
    return msgspec.structs.replace(record, status=status, last_event_id=str(top))


def fleet_of(logs: Iterable[Log]) -> FleetStats:
    """Counters of these generations; the times are made up."""
    known = list(logs)
    ended = [log.record.status for log in known if log.ended]
    buckets = [(0.1, 1), (1.0, 3), (float("inf"), 4)]
    counts = {status: ended.count(status) for status in ended}
    return FleetStats(counts, 1234, 1, buckets, 5.5, 4, active=len(known) - len(ended), queued=2)


def taken(viewer: Viewer | None, batch: Batch) -> bool:
    """Whether a viewer has written a live batch by itself."""
    return batch.live and viewer is not None and viewer.take(batch)
