"""One timer for the heartbeats of all streams of a node: ten thousand idle readers must not cost ten thousand."""

from __future__ import annotations

import asyncio
from typing import Protocol

_BEATS = 10
"""How often, within one heartbeat's time, silences are looked at: a heartbeat is at most a tenth late."""
_LONGEST_S = 1.0
_SHORTEST_S = 0.005


class Beating(Protocol):
    """A stream as the pulse sees it."""

    touched: bool
    """Set with every write; taken back with every look."""
    quiet_since: float
    """The loop's time before which the last write was."""

    def beat(self) -> None:
        """Write a heartbeat. Never waits, never raises."""
        ...


class Pulse:
    """Calls ``beat()`` of every stream that has been silent for ``heartbeat_s`` seconds."""

    def __init__(self, heartbeat_s: float) -> None:
        self._heartbeat_s = heartbeat_s
        self._tick_s = max(min(heartbeat_s / _BEATS, _LONGEST_S), _SHORTEST_S)
        self._streams: set[Beating] = set()
        self._timer: asyncio.TimerHandle | None = None

    def hold(self, stream: Beating) -> None:
        """From now on this stream is looked after."""
        stream.quiet_since = asyncio.get_running_loop().time()
        self._streams.add(stream)
        if self._timer is None:
            self._wind()

    def release(self, stream: Beating) -> None:
        """The stream is over."""
        self._streams.discard(stream)

    def _wind(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._tick_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if not self._streams:
            return
        now = asyncio.get_running_loop().time()
        silent = now - self._heartbeat_s
        for stream in list(self._streams):
            if stream.touched:
                stream.touched = False
                # It was written to since the last look: as early as that.
                stream.quiet_since = now - self._tick_s
            elif stream.quiet_since <= silent:
                stream.quiet_since = now
                stream.beat()
        self._wind()
