"""Connections that are cancelled in their clean-up are not lost to their pool."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from broker.redis import connect
from tests.conftest import MakeSettings

pytestmark = pytest.mark.integration


async def test_a_cancel_while_a_connection_is_given_back_loses_none(
    make_settings: MakeSettings, key_prefix: str
) -> None:
    """With a pool of two and a crowd that waits for it, cancelled at every moment: both stay in use."""
    client = cast("Any", connect(make_settings().redis_url, size=2))

    async def work() -> None:
        async with client.pipeline(transaction=True) as pipe:
            await pipe.watch(f"{key_prefix}:watched")
            await pipe.get(f"{key_prefix}:watched")

    for turns in range(1, 40):
        tasks = [asyncio.ensure_future(work()) for _ in range(12)]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.wait_for(asyncio.gather(*(work() for _ in range(20))), 10)
    assert not client.connection_pool._in_use_connections
    await client.aclose()
