"""One connection for everybody: in order, in one write, each told exactly once, whatever happens to the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from broker import lane as lane_module
from broker.lane import Lane
from broker.link import pack
from tests.broker.scripted_redis import ScriptedRedis, scripted_redis
from tests.support.waiting import wait_until


@pytest.fixture
async def server() -> AsyncIterator[ScriptedRedis]:
    """A server that does as it is told."""
    async with scripted_redis() as made:
        yield made


@asynccontextmanager
async def lane_to(server: ScriptedRedis, timeout_s: float = 5.0) -> AsyncGenerator[Lane]:
    """A lane, closed at the end."""
    lane = Lane(server.client(), timeout_s=timeout_s)
    try:
        yield lane
    finally:
        await lane.aclose()


def post(lane: Lane, count: int, told: list[tuple[int, Any]], first: int = 0) -> None:
    """Post ``ECHO n`` for each number."""
    for n in range(first, first + count):
        lane.post(pack("ECHO", str(n)), lambda reply, n=n: told.append((n, reply)))


async def test_what_is_posted_in_one_turn_leaves_in_one_write_and_comes_back_in_order(server: ScriptedRedis) -> None:
    """Also what was posted before there was a connection."""
    async with lane_to(server) as lane:
        told: list[tuple[int, Any]] = []
        post(lane, 100, told)
        await wait_until(lambda: len(told) == 100)
        reads = server.reads
        post(lane, 300, told, first=100)
        await wait_until(lambda: len(told) == 400)
        assert told == [(n, str(n).encode()) for n in range(400)]
        assert server.reads - reads <= 2
        assert server.connections == 1


async def test_an_error_reply_is_one_commands_own_business(server: ScriptedRedis) -> None:
    """Its neighbours get their replies."""
    async with lane_to(server) as lane:
        server.next_reply = b"-WRONGTYPE no\r\n"
        replies = await lane.calls([("GET", "a"), ("ECHO", "b")], list)
        assert [type(reply) for reply in replies] == [ResponseError, bytes]
        server.next_reply = b"-ERR no\r\n"
        with pytest.raises(ResponseError, match="no"):
            await lane.call("GET", "a")


async def test_a_cut_fails_what_is_under_way_once_and_nothing_behind_it(server: ScriptedRedis) -> None:
    """A reply can never reach the next connection's commands."""
    async with lane_to(server) as lane:
        assert await lane.call("ECHO", "a") == b"a"
        server.silent = True
        told: list[tuple[int, Any]] = []
        post(lane, 5, told)
        await wait_until(lambda: len(server.commands) == 6)
        server.cut()
        await wait_until(lambda: len(told) == 5)
        assert all(isinstance(reply, RedisConnectionError) for _, reply in told)
        server.silent = False
        assert await lane.call("ECHO", "b") == b"b"
        assert len(told) == 5
        assert server.connections == 2


async def test_a_server_that_answers_nothing_is_given_up(server: ScriptedRedis) -> None:
    """By one look at all commands together; what is answered in time puts it off."""
    async with lane_to(server, timeout_s=0.2) as lane:
        assert await lane.call("ECHO", "a") == b"a"
        server.silent = True
        with pytest.raises(RedisTimeoutError):
            await lane.call("ECHO", "b")
        server.silent = False
        assert await lane.call("ECHO", "c") == b"c"


@pytest.mark.parametrize("nonsense", [b"?what\r\n", b"$-7x\r\n"])
async def test_nonsense_ends_the_connection(server: ScriptedRedis, nonsense: bytes) -> None:
    """Nothing that follows it can be trusted."""
    async with lane_to(server) as lane:
        server.next_reply = nonsense
        with pytest.raises(InvalidResponse):
            await lane.call("GET", "a")
        assert await lane.call("ECHO", "a") == b"a"
        assert server.connections == 2


async def test_an_answer_to_nothing_ends_the_connection(server: ScriptedRedis) -> None:
    """Else every later reply would be one off."""
    async with lane_to(server) as lane:
        assert await lane.call("ECHO", "a") == b"a"
        server.say(b"+OK\r\n")
        await wait_until(lambda: not server.writers)
        assert await lane.call("ECHO", "b") == b"b"


async def test_without_a_server_everybody_is_told_soon(server: ScriptedRedis) -> None:
    """Nothing waits for ever, and more than fits is refused at once."""
    unreachable = Lane(server.client())
    server.port = 1
    lane = Lane(server.client())
    try:
        with pytest.raises(RedisConnectionError):
            await lane.call("ECHO", "a")
    finally:
        await lane.aclose()
        await unreachable.aclose()
    with pytest.raises(RedisConnectionError, match="closed"):
        await lane.call("ECHO", "a")


async def test_what_waits_for_a_connection_is_bounded(server: ScriptedRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is not where an outage is sat out."""
    monkeypatch.setattr(lane_module, "WAITING_BYTES", 100)
    async with lane_to(server) as lane:
        told: list[tuple[int, Any]] = []
        post(lane, 10, told)
        await wait_until(lambda: len(told) == 10)
        refused = [n for n, reply in told if isinstance(reply, RedisConnectionError)]
        assert 0 < len(refused) < 10
        assert [reply for _, reply in told if isinstance(reply, bytes)] == [
            str(n).encode() for n in range(10) if n not in refused
        ]


async def test_a_mistake_of_one_caller_costs_the_others_nothing(server: ScriptedRedis) -> None:
    """It is logged, and their replies go on coming."""

    def fail(_reply: Any) -> None:
        raise RuntimeError("mine")

    async with lane_to(server) as lane:
        lane.post(pack("ECHO", "a"), fail)
        assert await lane.call("ECHO", "b") == b"b"


async def test_who_is_cancelled_leaves_its_reply_to_nobody(server: ScriptedRedis) -> None:
    """The next caller gets its own."""
    async with lane_to(server) as lane:
        await lane.call("ECHO", "a")
        waiting = [asyncio.ensure_future(lane.call("ECHO", str(n))) for n in range(4)]
        several = asyncio.ensure_future(lane.calls([("ECHO", "x"), ("ECHO", "y")], list))
        await asyncio.sleep(0)
        waiting[1].cancel()
        several.cancel()
        replies = await asyncio.gather(*waiting, return_exceptions=True)
        assert [reply for n, reply in enumerate(replies) if n != 1] == [b"0", b"2", b"3"]
        assert await lane.call("ECHO", "z") == b"z"


async def test_closing_fails_what_was_not_answered(server: ScriptedRedis) -> None:
    """Nobody hangs on a lane that is gone."""
    lane = Lane(server.client())
    await lane.call("ECHO", "a")
    server.silent = True
    told: list[Any] = []
    lane.post(pack("ECHO", "b"), told.append)
    lane.post(pack("ECHO", "c"), partial(told.append))
    await lane.aclose()
    assert [type(reply) for reply in told] == [RedisConnectionError] * 2


async def test_each_caller_of_a_broken_connection_gets_an_error_of_its_own(server: ScriptedRedis) -> None:
    """One that is raised in many tasks would gather the tracebacks of them all, and never let go of their frames."""
    server.port = 1
    async with lane_to(server) as lane:
        told: list[tuple[int, Any]] = []
        post(lane, 3, told)
        await wait_until(lambda: len(told) == 3)
        assert all(isinstance(error, RedisConnectionError) for _, error in told)
        assert len({id(error) for _, error in told}) == 3
        assert len({str(error) for _, error in told}) == 1
