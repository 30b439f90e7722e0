"""An EventSource parser, written from the HTML standard (section 9.2.6) and from nothing of ours.

Bytes in at any split, events out. Beside what a browser does it keeps what a test wants to know: the comments, the
lines a browser ignores, and the blank lines that some clients take for an event (wires.md R1).
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field

_DIGITS = re.compile(r"[0-9]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """What a browser dispatches."""

    data: str
    type: str = "message"
    last_event_id: str = ""


@dataclass(slots=True)
class EventSourceParser:
    """Feed it bytes; it returns the events that they complete. What is incomplete at the end is never dispatched."""

    last_event_id: str = ""
    """What a reconnecting browser sends as Last-Event-ID."""
    retry_ms: int | None = None
    comments: list[str] = field(default_factory=list[str])
    ignored: list[str] = field(default_factory=list[str])
    """Lines with a field the standard does not know, or with a value it ignores."""
    empty_blocks: int = 0
    """Blank lines that dispatched nothing: openai-python takes each of them for an event without data."""
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")(errors="replace")
    )
    _line: str = ""
    _after_cr: bool = False
    _begun: bool = False
    _data: list[str] = field(default_factory=list[str])
    _type: str = ""
    _id: str = ""

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take the next bytes of the body."""
        events: list[ServerSentEvent] = []
        for char in self._decoder.decode(chunk):
            if not self._begun:
                self._begun = True
                if char == "\ufeff":
                    continue
            if char == "\n" and self._after_cr:
                self._after_cr = False
                continue
            self._after_cr = char == "\r"
            if char not in "\r\n":
                self._line += char
                continue
            line, self._line = self._line, ""
            event = self._take(line)
            if event is not None:
                events.append(event)
        return events

    @property
    def pending(self) -> bool:
        """Whether bytes have come that belong to an event which is not complete."""
        return bool(self._line or self._data)

    def _take(self, line: str) -> ServerSentEvent | None:
        if line == "":
            return self._dispatch()
        if line.startswith(":"):
            self.comments.append(line[1:])
            return None
        name, colon, value = line.partition(":")
        self._field(name, value[1:] if colon and value.startswith(" ") else value, line)
        return None

    def _field(self, name: str, value: str, line: str) -> None:
        if name == "event":
            self._type = value
        elif name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and _DIGITS.fullmatch(value):
            self.retry_ms = int(value)
        else:
            self.ignored.append(line)

    def _dispatch(self) -> ServerSentEvent | None:
        self.last_event_id = self._id
        data, kind = self._data, self._type
        self._data, self._type = [], ""
        text = "".join(f"{line}\n" for line in data)
        if text == "":
            self.empty_blocks += 1
            return None
        return ServerSentEvent(text[:-1], kind or "message", self.last_event_id)


def parse(body: bytes) -> list[ServerSentEvent]:
    """All events of a whole body."""
    return EventSourceParser().feed(body)
