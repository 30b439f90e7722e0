"""Ending tasks for good."""

from __future__ import annotations

import asyncio
from typing import Any

_AGAIN_S = 0.5


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
