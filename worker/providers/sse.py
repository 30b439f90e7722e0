"""Server-sent events out of the bytes of a provider's answer, wherever the network cut them. Pure.

Only the data of events is read: the vendors say the kind of an event in there as well.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from worker.providers.blocks import malformed

MAX_EVENT_BYTES = 16 * 2**20
"""Twice what an answer may hold by default: what is larger is no event, and is not waited for."""

_BOM = b"\xef\xbb\xbf"
_LF, _CR = b"\n", b"\r"


class EventReader:
    """Takes bytes as they come, and gives out the data of each event once it is whole.

    As the HTML standard says: lines end in LF, CR or CRLF; several lines of data are joined by LF; comments, names, ids
    and events without data are passed over, and so is an event that the end of the stream cuts.
    """

    __slots__ = ("_after_cr", "_begun", "_data", "_limit", "_line", "_size")

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self._limit = limit
        self._line = bytearray()
        """The beginning of a line whose end has not come."""
        self._data: list[bytes] = []
        """Lines of data of an event whose end has not come."""
        self._size = 0
        self._begun = False
        self._after_cr = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that this piece completes.

        Raises :class:`broker.errors.ProviderError` ``provider_malformed`` for an event that is larger than the limit.
        """
        if self._after_cr or _CR in piece:
            piece = self._only_lf(piece)
        *lines, rest = piece.split(_LF)
        if lines and self._line:
            lines[0] = bytes(self._line + lines[0])
            self._line.clear()
        self._line += rest
        events = self._events(lines) if lines else []
        if self._size + len(self._line) > self._limit:
            raise malformed(f"an event is larger than {self._limit} bytes")
        return events

    def _events(self, lines: list[bytes]) -> list[bytes]:
        if not self._begun:
            self._begun = True
            lines[0] = lines[0].removeprefix(_BOM)
        events: list[bytes] = []
        for line in lines:
            if line.startswith(b"data:"):
                value = line[6:] if line.startswith(b"data: ") else line[5:]
                self._data.append(value)
                self._size += len(value)
            elif line == b"data":
                self._data.append(b"")
            elif not line and self._data:
                if data := _LF.join(self._data):
                    events.append(data)
                self._data, self._size = [], 0
        return events

    def _only_lf(self, piece: bytes) -> bytes:
        """A CR is taken for the end of its line at once: what follows may be long in coming."""
        if self._after_cr and piece:
            self._after_cr = False
            piece = piece.removeprefix(_LF)
        self._after_cr = self._after_cr or piece.endswith(_CR)
        return piece.replace(b"\r\n", _LF).replace(_CR, _LF)


def load(data: bytes) -> Any:
    """The JSON of an event. Raises :class:`json.JSONDecodeError`, :class:`UnicodeDecodeError`."""
    try:
        return msgspec.json.decode(data)
    except RecursionError:
        raise json.JSONDecodeError("nested too deep", "", 0) from None
    except msgspec.DecodeError:
        # Python's own reader takes what some servers send all the same: halves of characters, NaN.
        return json.loads(data.decode())
