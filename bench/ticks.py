"""A clock that ticks more finely than an event loop's timers, which know milliseconds only."""

from __future__ import annotations

import asyncio
import ctypes
import os
from contextlib import suppress
from typing import Self

_CLOCK_MONOTONIC = 1
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Ticks:
    """Async context manager around a timerfd (which Python has from 3.13 on). Raises ``OSError`` where there is none.

    Args:
        every_s: seconds between ticks, less than one.
    """

    def __init__(self, every_s: float) -> None:
        self._every = _Timespec(0, int(every_s * 1e9))
        self._fd = -1
        self._waiter: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        spec = _Itimerspec(self._every, self._every)
        if self._fd < 0 or libc.timerfd_settime(self._fd, 0, ctypes.byref(spec), None) < 0:
            raise OSError(ctypes.get_errno(), "no timerfd")
        asyncio.get_running_loop().add_reader(self._fd, self._tick)
        return self

    async def __aexit__(self, *exc: object) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    def _tick(self) -> None:
        # However many ticks have passed, they are one to whoever was away.
        with suppress(BlockingIOError):
            os.read(self._fd, 8)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def next(self) -> None:
        """Return at the next tick."""
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter
