"""Notices as the scripts publish them: n entries from ``<epoch>-<seq>`` on.

A line ``E <epoch> <seq> <n> <epoch before>``, then n times a line ``<field size> <value size>`` and the bytes of both;
``H`` instead of ``E`` where the entries are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from broker.events import Entry, decode_entry
from broker.position import Position


@dataclass(frozen=True, slots=True)
class Notice:
    """A hint that a log has new entries, and, while they are small, the entries themselves."""

    entries: list[Entry] = field(default_factory=list[Entry])
    top: Position | None = None
    """The last entry the notice speaks of; ``None`` when the log was deleted."""
    previous: Position | None = None
    """The entry before the first one: only who stands there may take the entries."""
    size: int = 0


def parse_notice(data: bytes) -> Notice:
    """Read what a script published; anything unreadable is a bare hint, for the log is the truth."""
    try:
        return _parse(data)
    except (ValueError, IndexError):
        return Notice(size=len(data))


def _parse(data: bytes) -> Notice:
    line, _, body = data.partition(b"\n")
    words = line.split()
    if words[0] not in (b"E", b"H"):
        return Notice(size=len(data))
    epoch, first, count = int(words[1]), int(words[2]), int(words[3])
    top = Position(epoch, first + count - 1)
    entries: list[Entry] = []
    at = 0
    for seq in range(first, first + count) if words[0] == b"E" else ():
        end = body.index(b"\n", at)
        field_size, value_size = map(int, body[at:end].split())
        middle, after = end + 1 + field_size, end + 1 + field_size + value_size
        if after > len(body):
            raise ValueError("cut short")
        entries.append(Entry(Position(epoch, seq), decode_entry(body[end + 1 : middle], body[middle:after])))
        at = after
    return Notice(entries, top, Position(int(words[4]), first - 1), len(data))
