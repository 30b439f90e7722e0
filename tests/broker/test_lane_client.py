"""redis-py's commands on a lane: the same answers as from redis-py's own connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from redis.exceptions import ResponseError

from broker.client import Broker
from broker.lane_client import lane_client
from broker.redis import connect
from rejoinder.embedded import EmbeddedServer
from tests.broker.scripted_redis import scripted_redis
from tests.broker.store import Store
from tests.conftest import MakeSettings
from tests.support.waiting import wait_until


@pytest.fixture(params=["lane", "plain"])
async def client(request: pytest.FixtureRequest, redis_server: EmbeddedServer) -> AsyncIterator[Any]:
    """Either kind."""
    made = lane_client(redis_server.url)[0] if request.param == "lane" else connect(redis_server.url)
    yield cast("Any", made)
    await made.aclose()


async def test_replies_have_redis_pys_form(client: Any, key_prefix: str) -> None:
    """Commands with a form of their own, options, two words, and nil."""
    name = f"{key_prefix}:a"
    assert await client.set(name, "1", px=60_000, nx=True) is True
    assert await client.set(name, "2", px=60_000, nx=True) is None
    assert await client.get(name) == b"1"
    assert await client.zadd(f"{name}z", {"m": 1.5}) == 1
    assert await client.zrange(f"{name}z", 0, -1, withscores=True) == [(b"m", 1.5)]
    assert (await client.info())["redis_version"]
    assert (await client.config_get("maxmemory-policy"))["maxmemory-policy"]
    await client.delete(name, f"{name}z")


async def test_pipelines_and_transactions(client: Any, key_prefix: str) -> None:
    """All replies in order; an error is raised, and in a transaction nothing ran."""
    name = f"{key_prefix}:b"
    for transaction in (False, True):
        pipe = client.pipeline(transaction=transaction)
        pipe.hset(name, "f", "1")
        pipe.hmget(name, "f", "g")
        pipe.pexpire(name, 60_000)
        assert (await pipe.execute())[1:] == [[b"1", None], True]
        pipe.get(name)
        with pytest.raises(ResponseError, match="wrong kind"):
            await pipe.execute()
        assert await pipe.execute() == []
    await client.delete(name)


async def test_scripts_are_loaded_where_the_server_does_not_know_them(client: Any, key_prefix: str) -> None:
    """By themselves and in pipelines, also after the server has forgotten them."""
    script = client.register_script("return {KEYS[1], ARGV[1]}")
    for _ in range(2):
        await client.script_flush()
        assert await script(keys=[key_prefix], args=["a"]) == [key_prefix.encode(), b"a"]
        await client.script_flush()
        pipe = client.pipeline(transaction=False)
        await script(keys=[key_prefix], args=["b"], client=pipe)
        assert await pipe.execute() == [[key_prefix.encode(), b"b"]]


async def test_what_would_keep_everybody_waiting_is_refused(redis_server: EmbeddedServer) -> None:
    """A blocking read has a connection of its own, or it is a mistake."""
    client: Any = lane_client(redis_server.url)[0]
    with pytest.raises(ResponseError, match="share"):
        await client.blpop(["a"], timeout=1)
    pipe = client.pipeline(transaction=False)
    pipe.execute_command("WAIT", 1, 1)
    with pytest.raises(ResponseError, match="share"):
        await pipe.execute()
    await client.aclose()


async def test_a_command_is_sent_again_after_a_cut() -> None:
    """Ours may be: all of them are idempotent."""
    async with scripted_redis() as server:
        client: Any = lane_client(server.url)[0]
        await client.execute_command("ECHO", "a")
        server.silent = True
        cut = False

        def arrived() -> bool:
            nonlocal cut
            if len(server.commands) > 1 and not cut:
                cut, server.silent = True, False
                server.cut()
            return cut

        echo = asyncio.ensure_future(client.execute_command("ECHO", "x"))
        await wait_until(arrived)
        reply = await echo
        assert reply == b"x"
        assert server.connections == 2
        await client.aclose()


async def test_a_node_has_at_most_three_connections(make_settings: MakeSettings) -> None:
    """Whatever it does at once: here 50 readers and 50 lists."""
    async with EmbeddedServer() as server, Broker(make_settings(redis_url=server.url, live="direct")) as broker:
        store = Store.on(broker.redis, broker.settings)
        generation = await store.submit()
        readers = [broker.tail(generation) for _ in range(50)]
        await asyncio.gather(*(anext(reader) for reader in readers), *(broker.list() for _ in range(50)))
        assert len(await cast("Any", broker.redis).client_list()) <= 3
        for reader in readers:
            await reader.aclose()
