"""When deltas become entries: pure, told the time. The first token never waits. Seeds row 16, contract ``delivery``."""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from broker.events import DELTA_TYPES, ContentEvent, Delta, TextDelta
from broker.merge import MERGE_LIMIT, can_join, delta_text, join

Strategy: TypeAlias = Literal["none", "time", "word", "line", "sentence"]

HOLD_S = 1.0
"""How long a word, line or sentence may wait for its end: a provider that pauses must not hide what it has said."""

_BOUNDARY: dict[Strategy, re.Pattern[str]] = {
    "word": re.compile(r"\s+"),
    "line": re.compile(r"\n+"),
    "sentence": re.compile(r"[.!?…]+[\"'”’)\]]*\s+|[。！？]+|\n+"),
}


class Batcher:
    """Feed it events in order; what it returns is to be written at once, in that order."""

    def __init__(self, strategy: Strategy, window_s: float) -> None:
        self._strategy: Strategy = strategy
        self._window_s = window_s
        self._pending: list[Delta] = []
        self._size = 0
        self._first = True
        self.due_at: float | None = None
        """When :meth:`flush` is due, on the caller's clock; ``None`` = nothing waits."""

    def begin(self) -> None:
        """The next event is the first one of an answer again."""
        self._first = True

    def push(self, event: ContentEvent, now: float) -> list[ContentEvent]:
        """Take the next event."""
        if not isinstance(event, DELTA_TYPES):
            return [*self.flush(), event]
        ready: list[ContentEvent] = []
        if self._pending and not can_join(self._pending[-1], event):
            ready += self.flush()
        if self._first or self._strategy == "none" or (self._timed(event) and self._window_s <= 0):
            self._first = False
            return [*ready, event]
        if not self._pending:
            self.due_at = now + (self._window_s if self._timed(event) else HOLD_S)
        self._pending.append(event)
        self._size += len(delta_text(event).encode())
        if self._size >= MERGE_LIMIT:
            return [*ready, *self.flush()]
        return [*ready, *self._cut(now)]

    def flush(self) -> list[ContentEvent]:
        """Everything that waits, as one event."""
        if not self._pending:
            return []
        whole = join(self._pending)  # pyright: ignore[reportArgumentType, reportUnknownVariableType]
        self._pending = []
        self._size = 0
        self.due_at = None
        return [whole]

    def _timed(self, event: Delta) -> bool:
        """Only text has words and sentences; everything else goes by time."""
        return self._strategy in ("time", "none") or not isinstance(event, TextDelta)

    def _cut(self, now: float) -> list[ContentEvent]:
        """What is whole by the strategy's boundary; the rest waits on."""
        event = self._pending[0]
        if self._timed(event) or not isinstance(event, TextDelta):
            return []
        text = "".join(map(delta_text, self._pending))
        ends = [match.end() for match in _BOUNDARY[self._strategy].finditer(text)]
        if not ends:
            return []
        whole, rest = text[: ends[-1]], text[ends[-1] :]
        self._pending = [TextDelta(event.block, rest)] if rest else []
        self._size = len(rest.encode())
        self.due_at = now + HOLD_S if rest else None
        return [TextDelta(event.block, whole)]
