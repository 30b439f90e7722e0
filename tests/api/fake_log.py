"""What the fake door keeps, and the answers it gives."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import msgspec

from broker.events import TERMINAL_TYPES, Cancelled, Completed, Entry, Event, Failed, Started
from broker.position import Position
from broker.record import Record, Status

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
