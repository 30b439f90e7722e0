"""How a node leaves: what is open on it, and who is told when. Contract section 4 ("SIGTERM to a node")."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

Stop = Callable[[str], None]
"""Ends an open stream for the reason given."""

_random = random.SystemRandom()

WINDOW_S = 0.5
"""Streams are broken off over this many seconds, each at a moment of its own, so that their readers don't come back
to the other nodes all at once."""


class Drain:
    """Begins once, on SIGTERM, and never goes back."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        """Set: the node is not ready for new work, and long polls answer at once."""
        self._window_s: float | None = None
        self._open: set[Stop] = set()

    @property
    def viewers(self) -> int:
        """How many streams are open."""
        return len(self._open)

    def hold(self, stop: Stop) -> None:
        """From now on, ``stop`` is called when this node has to let go of the stream."""
        self._open.add(stop)
        if self._window_s is not None:
            self._later(stop)

    def release(self, stop: Stop) -> None:
        """The stream is over."""
        self._open.discard(stop)

    def begin(self) -> None:
        """The node goes out of service; what is open stays open."""
        self.begun.set()

    def break_off(self, window_s: float = WINDOW_S) -> None:
        """Break off all streams, also those that still come in, each within ``window_s`` seconds."""
        self.begin()
        self._window_s = window_s
        for stop in list(self._open):
            self._later(stop)

    def _later(self, stop: Stop) -> None:
        delay_s = _random.uniform(0, self._window_s or 0)
        asyncio.get_running_loop().call_later(delay_s, self._stop, stop)

    def _stop(self, stop: Stop) -> None:
        if stop in self._open:
            stop("drain")
