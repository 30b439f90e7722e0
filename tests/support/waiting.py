"""Waiting for a condition: the tests never sleep for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

START_S = 45.0
"""Until a service in processes of its own is up: it gives itself 30 s once it runs, and has to be loaded before."""
STALL_S = 0.25
"""What one look counts at most: while the machine stood still, nobody could make the condition come true."""


class _Budget:
    """Time that passes while somebody looks."""

    def __init__(self, seconds: float, condition: object) -> None:
        self._seconds = seconds
        self._condition = condition
        self._waited = 0.0
        self._looked_at = time.monotonic()

    def spend(self) -> None:
        """Another look was in vain. Raises ``AssertionError`` when there were enough."""
        now = time.monotonic()
        self._waited += min(now - self._looked_at, STALL_S)
        self._looked_at = now
        if self._waited > self._seconds:
            raise AssertionError(f"{self._condition} did not come to hold within {self._seconds:g} s")


async def wait_until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]], timeout_s: float = 10.0) -> None:
    """Return when the condition holds; fail when it does not come to hold."""
    budget = _Budget(timeout_s, condition)
    while True:
        answer = condition()
        if answer if isinstance(answer, bool) else await answer:
            return
        budget.spend()
        await asyncio.sleep(0.005)


def poll_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """The same where no loop runs."""
    budget = _Budget(timeout_s, condition)
    while not condition():
        budget.spend()
        time.sleep(0.02)
