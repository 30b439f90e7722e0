"""A connection driven directly: what can go wrong with it is told once, and as trouble with Redis."""
# pyright: reportPrivateUsage=false
# (the transport's moods are made inside)

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from broker import garbage, link
from broker.link import Link, pack
from tests.broker.scripted_redis import ScriptedRedis, scripted_redis
from tests.support.waiting import wait_until


class Ear:
    """Notes what a link says."""

    def __init__(self) -> None:
        self.replies: list[Any] = []
        self.lost: list[Exception] = []
        self.link = Link(self.replies.extend, lambda _link, error: self.lost.append(error))


@pytest.fixture
async def server() -> AsyncIterator[ScriptedRedis]:
    """A server that does as it is told."""
    async with scripted_redis() as made:
        yield made


@pytest.mark.parametrize("error", [OSError("broken pipe"), RuntimeError("the transport is closed")])
async def test_a_write_that_fails_loses_the_link_once(server: ScriptedRedis, error: Exception) -> None:
    """Uvloop's and the system's words for it; what is written behind it goes nowhere, silently."""
    ear = Ear()
    await ear.link.open(server.client())
    transport: Any = ear.link._transport

    class Broken:
        """Fails to write."""

        def get_write_buffer_size(self) -> int:
            """Empty."""
            return 0

        def write(self, _data: bytes) -> None:
            """No."""
            raise error

        def abort(self) -> None:
            """Close."""
            transport.abort()

        def is_closing(self) -> bool:
            """As it is."""
            return transport.is_closing()

    ear.link._transport = Broken()
    ear.link.write(pack("ECHO", "a"))
    ear.link.write(pack("ECHO", "b"))
    assert [type(told) for told in ear.lost] == [RedisConnectionError]
    assert not ear.link.open_still


async def test_a_server_that_takes_nothing_is_given_up(server: ScriptedRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the limit of what may wait in the transport."""
    monkeypatch.setattr(link, "WRITE_LIMIT", -1)
    ear = Ear()
    await ear.link.open(server.client())
    ear.link.write(pack("ECHO", "a"))
    assert "takes nothing" in str(ear.lost[0])


@pytest.mark.parametrize("error", [RuntimeError("closing"), ValueError("closed")])
async def test_whatever_fails_while_connecting_is_trouble_with_redis(
    server: ScriptedRedis, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """So that whoever connects tries again."""
    client = server.client()

    async def fail(_self: object) -> None:
        raise error

    pool = cast("Any", client).connection_pool
    monkeypatch.setattr(pool.connection_class, "connect", fail)
    with pytest.raises(RedisConnectionError, match="while connecting"):
        await Ear().link.open(client)


async def test_a_connection_that_ends_while_it_is_made_is_trouble_with_redis(
    server: ScriptedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end is told once, and to redis-py: a link on it would wait for replies that nobody sends."""
    client = server.client()
    pool = cast("Any", client).connection_pool
    connect = pool.connection_class.connect

    async def and_lose(self: Any) -> None:
        await connect(self)
        server.cut()
        await wait_until(self._reader.at_eof)

    monkeypatch.setattr(pool.connection_class, "connect", and_lose)
    with pytest.raises(RedisConnectionError, match="closed by server"):
        await Ear().link.open(client)


async def test_a_close_of_our_own_is_told_to_nobody(server: ScriptedRedis) -> None:
    """Neither is what still arrives."""
    ear = Ear()
    await ear.link.open(server.client())
    ear.link.write(pack("ECHO", "a"))
    await wait_until(lambda: ear.replies == [b"a"])
    ear.link.close()
    ear.link.data_received(b"+OK\r\n")
    ear.link.connection_lost(None)
    await asyncio.sleep(0)
    assert (ear.replies, ear.lost) == ([b"a"], [])


def test_collections_become_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is there already is left out of them."""
    done: list[Any] = []
    monkeypatch.setattr(garbage.gc, "collect", lambda: done.append("collect"))
    monkeypatch.setattr(garbage.gc, "freeze", lambda: done.append("freeze"))

    def threshold(*values: int) -> None:
        done.append(values)

    monkeypatch.setattr(garbage.gc, "set_threshold", threshold)
    garbage.look_rarely()
    assert done[:2] == ["collect", "freeze"]
    assert done[2][0] > 10_000
