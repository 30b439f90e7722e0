"""Waiting for a condition: the tests never sleep for a time."""

from __future__ import annotations

import asyncio
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
