"""Ending tasks for good."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

A = TypeVar("A")
B = TypeVar("B")

_AGAIN_S = 0.5


async def both(one: Awaitable[A], other: Awaitable[B]) -> tuple[A, B]:
    """Two waits at once, both to their ends; raises the first one's error, else the other's."""
    answers = await asyncio.gather(one, other, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers  # pyright: ignore[reportReturnType]


async def end(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks and return once they are done; their results are dropped.

    One cancel may get lost on its way: CPython 3.11's ``wait_for`` (bpo-37658) and a connection that is being made
    can swallow it. So it is said again until it is heard.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)
