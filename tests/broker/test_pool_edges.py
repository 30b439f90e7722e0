"""Giving a connection back while others hold the pool's lock: it arrives once, whoever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from redis.asyncio.client import Pipeline as RedisPipeline

from broker.redis import connect
from rejoinder.embedded import EmbeddedServer
from tests.support.waiting import wait_until


@pytest.fixture
async def pool(redis_server: EmbeddedServer) -> AsyncIterator[Any]:
    """The pool of a client with two connections."""
    client = connect(redis_server.url, size=2, retries=0)
    yield client.connection_pool
    await client.aclose()


async def two_of(pool: Any) -> list[Any]:
    """All there are, taken at once."""
    async with asyncio.timeout(2):
        return [await pool.get_connection(), await pool.get_connection()]


async def test_a_connection_is_given_back_once(pool: Any) -> None:
    """Twice would hand one connection to two callers, whose replies would mix."""
    one, other = await two_of(pool)
    for connection in (one, one, other):
        await pool.release(connection)
    again = await two_of(pool)
    assert {id(connection) for connection in again} == {id(one), id(other)}
    for connection in again:
        await pool.release(connection)


async def test_a_cancel_while_the_lock_is_held_loses_no_connection(pool: Any) -> None:
    """The giver is cancelled and told so, and a second giving at that moment does nothing."""
    one, other = await two_of(pool)
    await pool._condition.acquire()
    giving = asyncio.get_running_loop().create_task(pool.release(one))
    await wait_until(lambda: one in pool._returning)
    await asyncio.wait_for(pool.release(one), 1)
    giving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await giving
    assert one in pool._in_use_connections
    pool._condition.release()
    await wait_until(lambda: one not in pool._in_use_connections)
    assert one not in pool._returning
    async with asyncio.timeout(2):
        assert await pool.get_connection() is one
    for connection in (one, other):
        await pool.release(connection)


async def test_a_pipeline_without_a_connection_has_none_to_give(
    redis_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes wrong is told as it is; a pipeline that holds one closes it and gives it back."""
    client = connect(redis_server.url, size=1, retries=0)

    async def fail(_pipe: object) -> None:
        raise ConnectionResetError

    pipe = cast("Any", client.pipeline(transaction=False))
    monkeypatch.setattr(RedisPipeline, "reset", fail)
    with pytest.raises(ConnectionResetError):
        await pipe.reset()
    pipe.connection = held = await client.connection_pool.get_connection()
    with pytest.raises(ConnectionResetError):
        await pipe.reset()
    assert (pipe.connection, held.is_connected) == (None, False)
    monkeypatch.undo()
    assert await client.ping()
    await client.aclose()
