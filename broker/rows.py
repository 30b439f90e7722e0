"""From rows of a Redis Stream, as they come off the socket, straight to what a reader is given: pure.

What takes the density check of :class:`broker.follow.Follower`, :func:`broker.log.read_rows` and
:func:`broker.merge.merge_entries` one after the other is done in one go here: runs of plain deltas, nearly all of a
log, are joined as bytes and decoded once. Tests hold both ways to the same results.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from broker.errors import LogDamaged
from broker.events import TERMINAL_TYPES, Entry, decode_entry
from broker.merge import MERGE_LIMIT, merge_entries
from broker.position import Position

Row: TypeAlias = Sequence[Any]
"""``[id, [field, value]]``, all bytes."""

_JOINED = frozenset(b"trf")
"""First letters of the fields of plain deltas whose values may be joined as they are (:mod:`broker.events`)."""


class Folded(msgspec.Struct, frozen=True):
    """A run of rows that go on densely from a position."""

    entries: list[Entry]
    last: Position
    count: int
    """Rows, which merged entries hold several of."""
    ended: bool
    """The last one is the terminal event."""


def position_of(row: Row) -> Position:
    """Where a row stands."""
    epoch, _, seq = row[0].partition(b"-")
    return Position(int(epoch), int(seq))


def fold_rows(rows: Sequence[Row], after: Position, *, merge: bool) -> Folded:
    """The rows behind ``after`` as entries; ``merge`` = neighbouring deltas as one (contract section 4).

    Raises:
        LogDamaged: they do not go on densely, or go on behind the end.
    """
    entries: list[Entry] = []
    at, count = 0, len(rows)
    last = after
    while at < count:
        field = rows[at][1][0]
        first = _next(rows[at], last, entries)
        if field[0] in _JOINED:
            at, last, entry = _run(rows, at, first, joins=merge)
            entries.append(entry)
        else:
            entries.append(Entry(first, decode_entry(field, rows[at][1][1])))
            last = first
            at += 1
    ended = bool(entries) and isinstance(entries[-1].event, TERMINAL_TYPES)
    # What can't be joined as bytes (fragments of tool calls) is joined as events.
    return Folded(merge_entries(entries) if merge else entries, last, count, ended)


def _next(row: Row, last: Position, entries: list[Entry]) -> Position:
    here = position_of(row)
    ended = bool(entries) and isinstance(entries[-1].event, TERMINAL_TYPES)
    if ended or here.seq != last.seq + 1 or here.epoch < last.epoch:
        raise LogDamaged(f"the log goes on with {here} after {last}")
    return here


def _run(rows: Sequence[Row], at: int, first: Position, *, joins: bool) -> tuple[int, Position, Entry]:
    """Rows of one kind, block and epoch from ``at`` on, no larger than a merged delta may be; the index behind them."""
    field, value = rows[at][1]
    start = at
    head = b"%d-" % first.epoch
    seq, size = first.seq, len(value)
    values = [value]
    at += 1
    while joins and at < len(rows):
        key, (kind, value) = rows[at]
        size += len(value)
        if kind != field or size > MERGE_LIMIT or key != head + b"%d" % (seq + 1):
            break
        seq += 1
        values.append(value)
        at += 1
    event: Any = decode_entry(field, b"".join(values))
    if at - start > 1:
        event = msgspec.structs.replace(event, merged=at - start)
    last = Position(first.epoch, seq)
    return at, last, Entry(last, event)
