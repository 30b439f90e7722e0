"""Notices as the scripts publish them: n entries from ``<epoch>-<seq>`` on.

A line ``E <epoch> <seq> <n> <epoch before>``, then n times a line ``<field size> <value size>`` and the bytes of both;
``H`` instead of ``E`` where the entries are left out.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from broker.events import Entry, decode_entry
from broker.position import Position

_ONE = re.compile(rb"E (\d{1,16}) (\d{1,16}) 1 (\d{1,16})\n(\d{1,9}) (\d{1,9})\n", re.ASCII)
"""How a notice of one entry begins: nearly all of them, and a node hears tens of thousands a second."""

_position: Any = tuple.__new__  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
"""What a NamedTuple's own constructor comes down to, without its call of a Python function."""


class Notice(msgspec.Struct, frozen=True):
    """A hint that a log has new entries, and, while they are small, the entries themselves."""

    entries: list[Entry] = []
    top: Position | None = None
    """The last entry the notice speaks of; ``None`` when the log was deleted."""
    previous: Position | None = None
    """The entry before the first one: only who stands there may take the entries."""
    size: int = 0


def parse_notice(data: bytes) -> Notice:
    """Read what a script published; anything unreadable is a bare hint, for the log is the truth."""
    try:
        one = _ONE.match(data)
        return _parse(data) if one is None else _parse_one(data, one)
    except (ValueError, IndexError):
        return Notice(size=len(data))


def _parse_one(data: bytes, head: re.Match[bytes]) -> Notice:
    epoch, seq, before, field_size, value_size = map(int, head.groups())
    start = head.end()
    middle = start + field_size
    if middle + value_size > len(data):
        raise ValueError("cut short")
    event = decode_entry(data[start:middle], data[middle : middle + value_size])
    top = _position(Position, (epoch, seq))
    return Notice([_position(Entry, (top, event))], top, _position(Position, (before, seq - 1)), len(data))


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
