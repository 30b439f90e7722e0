"""A connection on which a command did not go out whole is given up, and says so in redis-py's own words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from broker.errors import LogUnavailable
from broker.redis import Redis, connect, unavailable
from rejoinder.embedded import EmbeddedServer


@pytest.fixture
async def client(redis_server: EmbeddedServer) -> AsyncIterator[Redis]:
    """A client of one connection that sends nothing twice."""
    client = connect(redis_server.url, size=1, timeout_s=0.1, retries=0)
    yield client
    await client.aclose()


async def connection_of(client: Redis) -> Any:
    """Its connection, open."""
    await client.ping()
    connection = await cast("Any", client).connection_pool.get_connection()
    await client.connection_pool.release(connection)
    assert connection.is_connected
    return connection


async def hang(_lines: object) -> None:
    """The socket takes nothing."""
    await asyncio.Event().wait()


def failing(error: BaseException) -> Callable[[object], Any]:
    """The socket fails like this."""

    async def fail(_lines: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("send", "seen"),
    [
        (hang, RedisTimeoutError),
        (failing(OSError("broken pipe")), RedisConnectionError),
        (failing(RuntimeError("the transport is closed")), RedisConnectionError),
    ],
)
async def test_half_a_command_ends_its_connection(
    client: Redis, monkeypatch: pytest.MonkeyPatch, send: Any, seen: type[Exception]
) -> None:
    """Nothing more is said on it; the next command gets another one. For us, Redis was away."""
    connection = await connection_of(client)
    monkeypatch.setattr(connection, "_send_packed_command", send)
    with pytest.raises(LogUnavailable) as caught, unavailable():
        await client.set("x", "1", px=1000)
    assert isinstance(caught.value.__cause__, seen)
    assert not connection.is_connected
    monkeypatch.undo()
    assert await client.ping()


async def test_what_is_no_trouble_of_the_socket_is_not_called_so(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mistake of ours stays one; a cancel stays one. The connection goes all the same."""
    for error in (ValueError("a mistake"), asyncio.CancelledError()):
        connection = await connection_of(client)
        monkeypatch.setattr(connection, "_send_packed_command", failing(error))
        with pytest.raises(type(error)), unavailable():
            await client.ping()
        assert not connection.is_connected
        monkeypatch.undo()


async def test_a_command_goes_out_in_any_form(client: Redis) -> None:
    """Text, bytes, or a list of bytes: redis-py hands over all three."""
    connection = await connection_of(client)
    for packed in ("PING\r\n", b"PING\r\n", [b"PI", b"NG\r\n"]):
        await connection.send_packed_command(packed)
        assert await connection.read_response() in (b"PONG", "PONG")
