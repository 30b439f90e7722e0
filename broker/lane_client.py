"""redis-py's client on a lane: the same commands, replies and retries, on one connection that all callers share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

from redis.asyncio import Redis as RedisPy
from redis.asyncio.client import Pipeline as RedisPipeline
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.client import NEVER_DECODE
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from broker.lane import Lane
from broker.redis import Redis, connect

T = TypeVar("T")

_BLOCKING = "BLPOP BRPOP BRPOPLPUSH BLMOVE BLMPOP BZPOPMIN BZPOPMAX BZMPOP WAIT WAITAOF"
_CHANGING = "SUBSCRIBE PSUBSCRIBE SSUBSCRIBE MONITOR WATCH MULTI EXEC DISCARD SELECT HELLO AUTH RESET QUIT"
_REFUSED = frozenset(f"{_BLOCKING} {_CHANGING}".split())
"""What would keep everybody else waiting, or change what the connection is."""


def lane_client(url: str) -> tuple[Redis, Lane]:
    """A client, and the lane it goes over; closing the client closes both. Retries as :func:`broker.redis.connect`."""
    source = connect(url, size=1, retries=0)
    lane = Lane(source)
    client = _LaneClient(connection_pool=source.connection_pool)
    client.lane = lane
    return cast("Redis", client), lane


async def ask(redis: Redis, then: Callable[[list[Any]], T], *commands: Sequence[Any]) -> T:
    """What ``then`` makes of the replies to commands that only read, as Redis gives them, in one round trip.

    A pipeline of redis-py's costs more than such a read itself. Raises the first error reply, and what ``then`` raises.
    """
    lane: Lane | None = getattr(redis, "lane", None)
    if lane is not None:
        return await _again(lambda: lane.calls(commands, lambda replies: then(_whole(replies))))
    pipe = redis.pipeline(transaction=False)
    for name, *args in commands:
        # Under its name in bytes redis-py has no form of its own for the reply.
        pipe.execute_command(name.encode(), *args)
    return then(await pipe.execute())


async def _again(send: Callable[[], Awaitable[T]]) -> T:
    """Send; where the connection breaks, send again, in the rhythm of every other client of ours."""
    try:
        return await send()
    except (RedisConnectionError, RedisTimeoutError):
        return await Retry(ExponentialBackoff(cap=0.5, base=0.02), 2).call_with_retry(send, _connects_by_itself)


async def _connects_by_itself(_error: Exception) -> None:
    """What redis-py asks for between two tries."""


class _LaneClient(RedisPy):
    """Every command of redis-py's ends in :meth:`execute_command`."""

    lane: Lane

    async def execute_command(self: Any, *args: Any, **options: Any) -> Any:
        """Send, wait for the reply, and give it the form redis-py gives it."""
        name = args[0]
        _check(name)

        reply = await _again(lambda: self.lane.call(*args))
        return _formed(self.response_callbacks, name, reply, options)

    def pipeline(self: Any, transaction: bool = True, shard_hint: str | None = None) -> Any:
        """As redis-py's."""
        pipeline = _LanePipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)
        pipeline.client = self
        return pipeline

    async def aclose(self: Any, close_connection_pool: bool | None = None) -> None:
        """Close the lane."""
        del close_connection_pool
        await self.lane.aclose()


class _LanePipeline(RedisPipeline):
    """Queues as redis-py's does, and sends all of it in one go."""

    client: Any

    async def execute(self: Any, raise_on_error: bool = True) -> list[Any]:
        """Send. Raises the first error reply."""
        commands, self.command_stack = self.command_stack, []
        if not commands:
            return []
        if self.scripts:
            scripts, self.scripts = list(self.scripts), set()
            await self._load(scripts)
        lines = [args for args, _ in commands]
        for line in lines:
            _check(line[0])
        if self.is_transaction:
            lines = [("MULTI",), *lines, ("EXEC",)]

        replies = await _again(lambda: self.client.lane.calls(lines, _same))
        if self.is_transaction:
            replies = _executed(replies)
        if raise_on_error:
            _raise_first(replies)
        callbacks = self.response_callbacks
        return [
            reply if isinstance(reply, Exception) else _formed(callbacks, args[0], reply, options)
            for (args, options), reply in zip(commands, replies, strict=True)
        ]

    async def _load(self: Any, scripts: list[Any]) -> None:
        there = await self.client.script_exists(*(script.sha for script in scripts))
        for script in (script for script, known in zip(scripts, there, strict=True) if not known):
            script.sha = await self.client.script_load(script.script)


def _executed(replies: list[Any]) -> list[Any]:
    """What EXEC answered; else why it did not run: the command that could not be queued."""
    _raise_first(replies)
    return replies[-1]


def _same(replies: list[Any]) -> list[Any]:
    return replies


def _whole(replies: list[Any]) -> list[Any]:
    _raise_first(replies)
    return replies


def _raise_first(replies: list[Any]) -> None:
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply


def _check(name: Any) -> None:
    if (name.decode() if isinstance(name, bytes) else str(name)).upper() in _REFUSED:
        raise ResponseError(f"{name} does not go over a connection that others share")


def _formed(callbacks: dict[str, Callable[..., Any]], name: Any, reply: Any, options: dict[str, Any]) -> Any:
    given = {key: value for key, value in options.items() if key not in (NEVER_DECODE, "keys")} if options else {}
    callback = callbacks.get(name)
    return reply if callback is None else callback(reply, **given)
