"""The only place that opens Redis connections, and the one translation of Redis trouble into our errors."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Protocol, cast

import redis.asyncio as aioredis
from redis.asyncio.client import Pipeline as RedisPipeline
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, OutOfMemoryError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from broker.errors import LogFull, LogUnavailable


class Pipeline(Protocol):
    """The commands we queue; each method only queues, :meth:`execute` sends."""

    def get(self, name: str) -> Any: ...
    def hmget(self, name: str, *fields: str) -> Any: ...
    def hgetall(self, name: str) -> Any: ...
    def hincrby(self, name: str, key: str, amount: int) -> Any: ...
    def hincrbyfloat(self, name: str, key: str, amount: float) -> Any: ...
    def xrange(self, name: str, *, min: str, count: int) -> Any: ...
    def exists(self, *names: str) -> Any: ...
    def delete(self, *names: str) -> Any: ...
    def zadd(self, name: str, mapping: Mapping[str, float], *, nx: bool = False) -> Any: ...
    def zrem(self, name: str, *members: str) -> Any: ...
    def zscore(self, name: str, member: str) -> Any: ...
    def zcard(self, name: str) -> Any: ...
    def zcount(self, name: str, min: float, max: float) -> Any: ...
    def zremrangebylex(self, name: str, min: str, max: str) -> Any: ...
    def rpush(self, name: str, *values: str) -> Any: ...
    def ltrim(self, name: str, start: int, end: int) -> Any: ...
    def execute_command(self, *args: str | int | bytes) -> Any: ...
    async def execute(self) -> list[Any]: ...


class Script(Protocol):
    """A registered Lua script: EVALSHA, and EVAL where the server does not know it."""

    async def __call__(self, *, keys: Sequence[str], args: Sequence[Any], client: Pipeline | None = None) -> Any: ...


class PubSub(Protocol):
    """One subscription connection."""

    async def subscribe(self, *names: str) -> Any: ...
    async def unsubscribe(self, *names: str) -> Any: ...
    async def get_message(self, *, timeout: float) -> dict[str, Any] | None: ...
    async def ping(self) -> Any: ...
    async def aclose(self) -> None: ...


class Redis(Protocol):
    """A client that answers bytes: only the commands we use, which also hides redis-py's loose types."""

    @property
    def connection_pool(self) -> Any: ...
    async def ping(self) -> Any: ...
    async def info(self) -> dict[str, Any]: ...
    async def time(self) -> tuple[int, int]: ...
    async def get(self, name: str) -> bytes | None: ...
    async def set(self, name: str, value: str, *, nx: bool = False, px: int | None = None) -> bool | None: ...
    async def delete(self, *names: str) -> int: ...
    async def pexpire(self, name: str, time: int) -> Any: ...
    async def pttl(self, name: str) -> int: ...
    async def hget(self, name: str, key: str) -> bytes | None: ...
    async def hmget(self, name: str, *fields: str) -> list[bytes | None]: ...
    async def zadd(self, name: str, mapping: Mapping[str, float], *, nx: bool = False, xx: bool = False) -> Any: ...
    async def zrem(self, name: str, *members: str) -> int: ...
    async def zcard(self, name: str) -> int: ...
    async def zrange(self, name: str, start: int, end: int, *, withscores: bool) -> list[tuple[bytes, float]]: ...
    async def zrevrangebylex(self, name: str, max: str, min: str, *, start: int, num: int) -> list[bytes]: ...
    async def rpush(self, name: str, *values: str) -> int: ...
    async def blpop(self, names: Sequence[str], timeout: float) -> tuple[bytes, bytes] | None: ...
    def pipeline(self, *, transaction: bool) -> Pipeline: ...
    def register_script(self, script: str) -> Script: ...
    def pubsub(self) -> PubSub: ...
    async def aclose(self) -> None: ...


COMMAND_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 2.0
POOL_SIZE = 8
POOL_WAIT_S = 5.0


class _Prompt:
    """Hears every cancel, and leaves no socket behind.

    redis-py sends through ``asyncio.wait_for``, which on CPython 3.11 can swallow a cancel; and a cancel while a
    connection is being made drops its socket unclosed.
    """

    async def connect(self: Any) -> None:
        """Connect, to the end: a cancel is obeyed once there is something to close."""
        inherited: Any = super()
        connecting: asyncio.Task[None] = asyncio.get_running_loop().create_task(inherited.connect())
        cancelled: asyncio.CancelledError | None = None
        while not connecting.done():
            try:
                await asyncio.shield(connecting)
            except asyncio.CancelledError as error:
                cancelled = error
            except (RedisError, OSError):
                break
        if cancelled is not None:
            await asyncio.gather(connecting, return_exceptions=True)
            await self.disconnect(nowait=True)
            raise cancelled
        connecting.result()

    async def send_packed_command(self: Any, command: Any, check_health: bool = True) -> None:
        """Send within ``socket_timeout`` seconds, or give the connection up."""
        if not self.is_connected:
            await self.connect()
        elif check_health:
            await self.check_health()
        lines = [command.encode()] if isinstance(command, str) else [command] if isinstance(command, bytes) else command
        try:
            async with asyncio.timeout(self.socket_timeout):
                await self._send_packed_command(lines)
        except BaseException as error:
            # Half a command may have gone out: nothing more can be said on this connection.
            await self.disconnect(nowait=True)
            if isinstance(error, TimeoutError):
                raise RedisTimeoutError("Timeout writing to socket") from None
            # uvloop has a RuntimeError of its own for a transport that was closed under us.
            if isinstance(error, OSError | RuntimeError):
                raise RedisConnectionError(f"Error while writing to socket: {error}") from error
            raise


class _Tcp(_Prompt, aioredis.Connection):
    """redis:// and hostnames."""


class _Tls(_Prompt, aioredis.SSLConnection):
    """rediss://."""


class _Unix(_Prompt, aioredis.UnixDomainSocketConnection):
    """unix://."""


class _Pool(aioredis.BlockingConnectionPool):
    """Takes every connection back, also from who is cancelled while giving it: redis-py would lose it for good."""

    async def release(self: Any, connection: Any) -> None:
        """Take it back, once; a cancel is obeyed when that is done."""
        if connection not in self._in_use_connections or connection in self._returning:
            return
        giving: Any = super()
        # The lock is nearly always free, and then nothing in here waits: no cancel can come in between.
        if not self._condition.locked():
            await giving.release(connection)
            return
        self._returning.add(connection)
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(giving.release(connection))
        task.add_done_callback(lambda _: self._returning.discard(connection))
        await asyncio.shield(task)

    @cached_property
    def _returning(self) -> set[Any]:
        return set()


class _Pipeline(RedisPipeline):
    """Gives its connection back, whatever happens to its UNWATCH (redis-py #4123)."""

    async def reset(self: Any) -> None:
        """Forget what was queued; a connection that can't be made clean is closed."""
        inherited: Any = super()
        try:
            await inherited.reset()
        except BaseException:
            connection, self.connection, self.watching = self.connection, None, False
            if connection is not None:
                await connection.disconnect(nowait=True)
                await self.connection_pool.release(connection)
            raise


class _Client(aioredis.Redis):
    """What :func:`connect` makes: its pipelines never lose their connection."""

    def pipeline(self: Any, transaction: bool = True, shard_hint: str | None = None) -> Any:
        """As redis-py's."""
        return _Pipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)


_CLASSES = {aioredis.Connection: _Tcp, aioredis.SSLConnection: _Tls, aioredis.UnixDomainSocketConnection: _Unix}


def connect(url: str, *, size: int = POOL_SIZE, timeout_s: float | None = COMMAND_TIMEOUT_S, retries: int = 3) -> Redis:
    """A client with a bounded pool; nothing is opened before the first command.

    Commands that fail for want of a connection are sent again up to ``retries`` times: every write of ours is
    idempotent (explicit stream ids, compare-and-append), so a lost reply does no harm. With 0 a connection that broke
    is never made anew behind its owner's back. ``timeout_s`` None is for reads that block.
    """
    pool = cast("Any", _Pool).from_url(
        url,
        max_connections=size,
        timeout=POOL_WAIT_S,
        socket_timeout=timeout_s,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_keepalive=None if url.startswith("unix://") else True,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.02), retries),
        retry_on_error=[RedisConnectionError, RedisTimeoutError] if retries else [],
        health_check_interval=15,
    )
    pool.connection_class = _CLASSES[pool.connection_class]
    return cast("Redis", _Client.from_pool(pool))


@contextmanager
def unavailable() -> Generator[None]:
    """Raise :class:`LogUnavailable` for whatever Redis could not do; :class:`LogFull` for want of memory."""
    try:
        yield
    except (RedisError, OSError) as error:
        # From inside a script, Redis 6.2 wraps it in an error of its own.
        if isinstance(error, OutOfMemoryError) or "OOM command not allowed" in str(error):
            raise LogFull from error
        raise LogUnavailable(f"Redis: {type(error).__name__}: {error}") from error


async def server_info(redis: Redis) -> dict[str, Any] | None:
    """What the server says of itself (INFO); None where this user may not ask. Raises :class:`LogUnavailable`."""
    with unavailable():
        try:
            return await redis.info()
        except NoPermissionError:
            await redis.ping()
            return None


def text(value: Any) -> str:
    """A reply of Redis as text; nil is the empty text."""
    return value.decode() if isinstance(value, bytes) else str(value or "")
