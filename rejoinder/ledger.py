"""What a reader has received, and what can be said about it from the ids alone. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from broker.position import parse_position
from rejoinder.stream_event import RESET, StreamEvent


@dataclass(slots=True)
class Ledger:
    """Counts every log entry received, by the ids on the wire: an independent check of what the client promises."""

    entries: int = 0
    gaps: int = 0
    """Entries that were skipped."""
    duplicates: int = 0
    """Entries that came more than once."""
    text: str = ""
    nodes: list[str] = field(default_factory=list[str])
    """The nodes that served, in order, each named once in a row."""
    end: StreamEvent | None = None
    _seq: int = 0

    def take(self, event: StreamEvent) -> None:
        """Enter one event; those without an id move nothing."""
        if not self.nodes or self.nodes[-1] != event.node:
            self.nodes.append(event.node)
        if event.type == RESET:
            self.text, self._seq, self.entries = "", 0, 0
        if event.id is None:
            return
        seq = parse_position(event.id).seq
        first = seq - event.merged + 1
        self.gaps += max(0, first - self._seq - 1)
        self.duplicates += max(0, min(self._seq, seq) - first + 1)
        self._seq = max(self._seq, seq)
        self.entries += event.merged
        if event.type == "generation.started" and event.data.get("mode") == "restart":
            self.text = ""
        elif event.type == "text.delta":
            self.text += event.text
        if event.terminal:
            self.end = event


def digest(text: str) -> str:
    """The beginning of the text's sha256: enough to compare two by eye."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]
