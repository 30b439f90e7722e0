"""The faults are what they say they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from broker.errors import LogUnavailable
from broker.redis import Redis, connect, unavailable
from rejoinder.embedded import EmbeddedServer
from tests.chaos.proxy import FaultProxy
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
async def proxy(redis_server: EmbeddedServer) -> AsyncIterator[FaultProxy]:
    """In front of the real server."""
    async with FaultProxy("127.0.0.1", redis_server.port) as opened:
        yield opened


@pytest.fixture
async def client(proxy: FaultProxy) -> AsyncIterator[Redis]:
    """One that asks once."""
    made = connect(f"redis://127.0.0.1:{proxy.port}/0", size=1, retries=0, timeout_s=0.5)
    yield made
    await made.aclose()


@pytest.fixture
async def direct(redis_server: EmbeddedServer) -> AsyncIterator[Redis]:
    """Past the proxy."""
    made = connect(redis_server.url)
    yield made
    await made.aclose()


async def incr(client: Redis, key: str) -> int:
    """A command whose every application shows."""
    with unavailable():
        return await cast("Any", client).incr(key)


async def gone(direct: Redis, key: str) -> None:
    """Leave nothing behind."""
    await direct.delete(key)


async def test_a_dropped_reply_was_applied(proxy: FaultProxy, client: Redis, direct: Redis, key_prefix: str) -> None:
    """Once: the client sees a dead connection, the server has done it."""
    key = f"{key_prefix}:n"
    assert await incr(client, key) == 1
    proxy.drop_replies()
    with pytest.raises(LogUnavailable):
        await incr(client, key)
    assert await direct.get(key) == b"2"
    assert proxy.dropped == 1
    assert await incr(client, key) == 3
    await gone(direct, key)


async def test_a_cut_connection_is_made_anew(proxy: FaultProxy, client: Redis, direct: Redis, key_prefix: str) -> None:
    """A reset, not a silence."""
    key = f"{key_prefix}:n"
    await incr(client, key)
    assert proxy.cut() == 1
    await wait_until(lambda: proxy.links == 0)
    assert await incr(client, key) == 2
    await gone(direct, key)


async def test_a_partition_is_silent_and_loses_nothing(
    proxy: FaultProxy, client: Redis, direct: Redis, key_prefix: str
) -> None:
    """The client waits in vain; what it had sent arrives when it is over."""
    key = f"{key_prefix}:n"
    await incr(client, key)
    proxy.partition()
    with pytest.raises(LogUnavailable):
        await incr(client, key)
    assert await direct.get(key) == b"1"
    proxy.heal()
    await wait_until(lambda: _is(direct, key, b"2"))
    await gone(direct, key)


async def test_latency_and_a_new_target(proxy: FaultProxy, client: Redis) -> None:
    """Both ways late; new connections go where they are told."""
    proxy.latency_s = 0.05
    began = asyncio.get_running_loop().time()
    await client.ping()
    assert asyncio.get_running_loop().time() - began >= 0.1
    proxy.latency_s = 0.0
    async with EmbeddedServer() as other:
        proxy.target = ("127.0.0.1", other.port)
        proxy.cut()
        await wait_until(lambda: proxy.links == 0)
        assert await incr(client, "elsewhere") == 1


async def _is(direct: Redis, key: str, value: bytes) -> bool:
    return await direct.get(key) == value
