"""Connections that hang or are cancelled in their clean-up are not lost to their pool."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import TimeoutError as RedisTimeoutError

from broker.client import Broker
from broker.redis import POOL_SIZE, connect
from tests.conftest import MakeSettings, StartWorker
from tests.integration.reading import request
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration


async def test_hangs_in_the_reset_of_a_pipeline_do_not_silence_a_worker(
    broker: Broker, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bell for a job that is gone leads arq to UNWATCH; Redis hangs there as often as the pool has connections."""
    send, read = AbstractConnection.send_command, AbstractConnection.read_response
    hung = 0
    waiting: set[int] = set()

    async def sending(self: Any, *args: Any, **kwargs: Any) -> Any:
        if args[0] == "UNWATCH" and hung < POOL_SIZE:
            waiting.add(id(self))
        return await send(self, *args, **kwargs)

    async def reading(self: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal hung
        if id(self) in waiting:
            waiting.discard(id(self))
            hung += 1
            await self.disconnect(nowait=True)
            raise RedisTimeoutError("Timeout reading from socket")
        return await cast("Any", read)(self, *args, **kwargs)

    monkeypatch.setattr(AbstractConnection, "send_command", sending)
    monkeypatch.setattr(AbstractConnection, "read_response", reading)
    monkeypatch.setattr("broker.redis.POOL_WAIT_S", 0.3)
    await start_worker()
    for n in range(POOL_SIZE):
        await broker.redis.rpush(broker.keys.doorbell, f"gen_gone{n}")
        await wait_until(lambda n=n: hung > n)
    made = await broker.submit(request(3, 0))
    assert (await broker.wait(made.record.id, 5)).status == "completed"


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
