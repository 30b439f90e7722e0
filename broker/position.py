"""Where a reader stands in a log: PROTOCOL.md, clauses POS-1 … POS-4."""

from __future__ import annotations

import re
from typing import NamedTuple

from broker.errors import InvalidPosition

_FRAME = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)
_TEXT = re.compile(r"(0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15})", re.ASCII)


class Position(NamedTuple):
    """``<epoch>-<seq>``: the id of the last event a reader has; it orders like the Redis entry id that it is."""

    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"


START = Position(0, 0)
"""Before the first event."""


class Cursor(NamedTuple):
    """Where a reader of frames stands: behind ``position``, or, with a ``frame``, behind that frame of its entry."""

    position: Position = START
    frame: int = 0
    """How many frames of the entry the reader has, of an entry that makes more; 0 = it has the whole entry."""

    def __str__(self) -> str:
        return f"{self.position}.{self.frame}" if self.frame else str(self.position)


def parse_cursor(text: str | None) -> Cursor:
    """Read an untrusted id of a frame, ``<epoch>-<seq>`` or ``<epoch>-<seq>.<k>``. Raises :class:`InvalidPosition`."""
    whole, dot, frame = (text or "").partition(".")
    if not dot:
        return Cursor(parse_position(text))
    if not _FRAME.fullmatch(frame):
        raise InvalidPosition(f"{(text or '')[:64]!r} is not an id: expected <epoch>-<seq>.<k>", field="Last-Event-ID")
    return Cursor(parse_position(whole), int(frame))


def parse_position(text: str | None) -> Position:
    """Read an untrusted event id; absent and empty mean :data:`START`.

    Raises:
        InvalidPosition: for anything but two plain decimal numbers of at most 16 digits (Lua counts in doubles:
            anything longer is no id of ours).
    """
    if text is None or text == "":
        return START
    match = _TEXT.fullmatch(text)
    if match is None:
        raise InvalidPosition(f"{text[:64]!r} is not an event id: expected <epoch>-<seq>", field="Last-Event-ID")
    return Position(int(match[1]), int(match[2]))
