"""An incremental parser of Server-Sent Events: bytes in, split anywhere; whole events out. Pure: no I/O, no clock.

It follows the WHATWG rules (https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6).
"""

from __future__ import annotations

from dataclasses import dataclass

_BOM = b"\xef\xbb\xbf"
_RETRY_DIGITS = 9
"""A ``retry:`` with more digits would be longer than eleven days: it is ignored like one that is not a number."""


class SSEOverflow(ValueError):
    """The peer sent an event larger than the parser may hold."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One event as it was sent."""

    event: str
    """The ``event:`` field; ``message`` where there was none."""
    data: str
    id: str | None
    """The ``id:`` field of this very block; ``None`` where the block had none (it then moves no cursor)."""


class SSEParser:
    """Feed it what arrives; it answers with the events that have become whole.

    Args:
        limit: bytes that one event, and one line of it, may have.
    """

    def __init__(self, *, limit: int = 64 * 2**20) -> None:
        self._limit = limit
        self._pending: bytes = b""
        self._start = True
        self._after_cr = False
        self._data: list[str] = []
        self._size = 0
        self._event = ""
        self._id: str | None = None
        self.last_event_id = ""
        """What a reconnect has to send as ``Last-Event-ID``."""
        self.retry_s: float | None = None
        """The newest ``retry:``, in seconds."""

    def feed(self, chunk: bytes) -> list[Frame]:
        """Take the next bytes and return the events they complete, in order.

        Raises:
            SSEOverflow: for a line or an event larger than the limit.
        """
        if self._after_cr and chunk:
            # The second half of a CRLF whose first half ended a line already.
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        buffer = self._pending + chunk
        if self._start:
            if len(buffer) < len(_BOM) and _BOM.startswith(buffer):
                self._pending = buffer
                return []
            buffer = buffer.removeprefix(_BOM)
            self._start = False
        frames: list[Frame] = []
        self._after_cr = self._after_cr or chunk.endswith(b"\r")
        lines = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._pending = lines.pop()
        if len(self._pending) > self._limit:
            raise SSEOverflow(f"a line of more than {self._limit} bytes")
        for line in lines:
            frame = self._line(line)
            if frame is not None:
                frames.append(frame)
        return frames

    def _line(self, line: bytes) -> Frame | None:
        if not line:
            return self._dispatch()
        name, _, value = line.decode(errors="replace").partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._size += len(line)
                if self._size > self._limit:
                    raise SSEOverflow(f"an event of more than {self._limit} bytes")
                self._data.append(value)
            case "event":
                self._event = value
            case "id" if "\0" not in value:
                self._id = value
                self.last_event_id = value
            case "retry" if value.isascii() and value.isdigit() and len(value) <= _RETRY_DIGITS:
                self.retry_s = int(value) / 1000
            case _:
                pass
        return None

    def _dispatch(self) -> Frame | None:
        data, event, own_id = self._data, self._event, self._id
        self._data, self._event, self._id, self._size = [], "", None, 0
        if not data:
            return None
        return Frame(event or "message", "\n".join(data), own_id)
