"""Notices that somebody who should speak has fallen silent, without a timer for each word."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Self


class Silence:
    """A block that ends in ``TimeoutError`` once one :meth:`wait` in it has lasted for ``limit_s`` seconds.

    One timer for all waits: it looks, when the limit could have passed, how long the present wait has lasted. What is
    done between :meth:`heard` and the next :meth:`wait` may take as long as it likes.
    """

    __slots__ = ("_clock", "_limit_s", "_loop", "_since", "_timeout", "_timer")

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._loop = asyncio.get_running_loop()
        self._clock = self._loop.time
        self._since = math.inf
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._timer = self._loop.call_later(self._limit_s, self._look)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    @property
    def expired(self) -> bool:
        """Whether the block was ended by silence, and not by a ``TimeoutError`` of something inside."""
        return self._timeout.expired()

    def wait(self) -> None:
        """From now on somebody should speak."""
        self._since = self._clock()

    def heard(self) -> None:
        """They have."""
        self._since = math.inf

    def _look(self) -> None:
        now = self._clock()
        due = self._since + self._limit_s
        if due <= now:
            self._timeout.reschedule(now)
        else:
            # A wait that has not begun yet is looked at no later than it is due, for it begins after now.
            self._timer = self._loop.call_at(min(due, now + self._limit_s), self._look)
