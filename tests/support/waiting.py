"""Waiting for a condition: the tests never sleep for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


async def wait_until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]], timeout_s: float = 10.0) -> None:
    """Return when the condition holds; fail when it does not come to hold."""
    clock = asyncio.get_running_loop().time
    until = clock() + timeout_s
    while True:
        answer = condition()
        if answer if isinstance(answer, bool) else await answer:
            return
        if clock() > until:
            raise AssertionError(f"{condition} did not come to hold within {timeout_s:g} s")
        await asyncio.sleep(0.005)


def poll_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """The same where no loop runs."""
    until = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"{condition} did not come to hold within {timeout_s:g} s")
        time.sleep(0.02)
