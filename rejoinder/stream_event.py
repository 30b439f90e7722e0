"""What a stream yields, and the arithmetic that proves that nothing is missing. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from broker.errors import InvalidPosition
from broker.position import START, Position, parse_position
from rejoinder.failures import StreamBroken

TERMINAL = frozenset({"generation.completed", "generation.failed", "generation.cancelled"})
"""Types of the events that end a log."""
RESET = "stream.reset"
"""What came before is not in this log: clear it; the whole log follows."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event of a generation, or a word of the server about the stream (then ``id`` is ``None``)."""

    id: str | None
    """``<epoch>-<seq>``: what :meth:`Client.stream` takes as ``after`` to go on behind this event."""
    type: str
    """For instance ``text.delta``; a newer server may send types that this version does not know."""
    data: Mapping[str, Any]
    """All fields as they were sent, ``type`` among them."""
    node: str = ""
    """The node that served it (``X-Rejoinder-Node``)."""

    @property
    def text(self) -> str:
        """The text of a text, reasoning or refusal delta; empty for all others."""
        return str(self.data.get("text", ""))

    @property
    def merged(self) -> int:
        """How many log entries this event holds: 1 unless the server has joined neighbours."""
        merged = self.data.get("merged")
        return merged if isinstance(merged, int) else 1

    def part(self, name: str) -> Mapping[str, Any]:
        """A field that is an object (``usage``, ``timing``, ``error``); empty where it is absent or something else."""
        value = self.data.get(name)
        return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}

    @property
    def terminal(self) -> bool:
        """Whether nothing can come after it."""
        return self.type in TERMINAL


def decode_event(event_id: str | None, data: str | bytes, node: str) -> StreamEvent:
    """Read the JSON of one event.

    Raises:
        StreamBroken: for anything but a JSON object with a ``type``.
    """
    try:
        fields = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError) as error:
        raise StreamBroken(f"an event that is not a JSON object: {error}") from error
    event_type = fields.get("type")
    if not isinstance(event_type, str):
        raise StreamBroken("an event without a type")
    return StreamEvent(event_id, event_type, fields, node)


@dataclass(slots=True)
class Cursor:
    """Where a reader stands. An event may only come next: its seq is the last one's plus what it holds."""

    position: Position = field(default=START)

    @property
    def last_event_id(self) -> str | None:
        """What to send as ``Last-Event-ID``; ``None`` at the very start."""
        return None if self.position == START else str(self.position)

    def take(self, event: StreamEvent) -> None:
        """Move over this event.

        Raises:
            StreamBroken: when entries are missing before it or it was here already; the cursor then stays.
        """
        if event.type == RESET:
            self.position = START
            return
        if event.id is None:
            return
        try:
            found = parse_position(event.id)
        except InvalidPosition as error:
            raise StreamBroken(str(error)) from error
        expected = self.position.seq + event.merged
        if found.seq != expected or found.epoch < self.position.epoch or event.merged < 1:
            kind = "a gap" if found.seq > expected else "a repetition"
            raise StreamBroken(f"{kind}: {found} holds {event.merged} and came after {self.position}")
        self.position = found
