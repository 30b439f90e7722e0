"""When deltas become entries: pure, told the time. The first token never waits. Seeds row 16, contract ``delivery``."""

from __future__ import annotations

import math
import re
import zlib
from typing import Literal, TypeAlias

from broker.events import DELTA_TYPES, ContentEvent, Delta, TextDelta
from broker.merge import MERGE_LIMIT, can_join, delta_text, join

Strategy: TypeAlias = Literal["none", "time", "word", "line", "sentence"]

HOLD_S = 1.0
"""How long a word, line or sentence may wait for its end: a provider that pauses must not hide what it has said."""

_CLOCK_S = 0.0005
"""A timer may be early by what its clock can't show; it would only be set anew."""
_PHASES = 2
"""With one, all answers of a busy worker would write at once, and processes that share a core get into a queue."""

_BOUNDARY: dict[Strategy, re.Pattern[str]] = {
    "word": re.compile(r"\s+"),
    "line": re.compile(r"\n+"),
    "sentence": re.compile(r"[.!?…]+[\"'”’)\]]*\s+|[。！？]+|\n+"),
}


def phase_of(generation: str) -> float:
    """Where in a window this answer's windows end: halves of all answers, whichever worker has them."""
    return zlib.crc32(generation.encode()) % _PHASES / _PHASES


class Batcher:
    """Feed it events in order; what it returns is to be written at once, in that order."""

    def __init__(self, strategy: Strategy, window_s: float, *, phase: float = 0.0) -> None:
        """``phase``: the share of a window by which its ends lie behind its multiples."""
        self._strategy: Strategy = strategy
        self._window_s = window_s
        # Clocks of milliseconds must be able to meet a window's end exactly.
        self._window_ms = round(window_s * 1000, 3)
        self._phase_ms = math.floor(self._window_ms * phase)
        self._pending: list[Delta] = []
        self._size = 0
        self._first = True
        self.due_at: float | None = None
        """When :meth:`flush` is due, on the caller's clock; ``None`` = nothing waits."""

    def begin(self) -> None:
        """The next event is the first one of an answer again."""
        self._first = True

    def is_due(self, now: float) -> bool:
        """Whether something has waited for long enough."""
        return self.due_at is not None and self.due_at <= now + _CLOCK_S

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
            self.due_at = self._end_of_window(now) if self._timed(event) else now + HOLD_S
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

    def _end_of_window(self, now: float) -> float:
        """The next multiple of the window, so that answers write together. docs/adr/0019."""
        since_ms = round(now * 1000, 3) - self._phase_ms
        return ((math.floor(since_ms / self._window_ms) + 1) * self._window_ms + self._phase_ms) / 1000

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
