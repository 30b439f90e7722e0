"""The only place that opens Redis connections, and the one translation of Redis trouble into our errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import redis.asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from broker.errors import LogUnavailable

Redis: TypeAlias = "aioredis.Redis"
"""A client that answers bytes."""

COMMAND_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 2.0
POOL_SIZE = 8
POOL_WAIT_S = 5.0


def connect(url: str, *, size: int = POOL_SIZE, timeout_s: float | None = COMMAND_TIMEOUT_S) -> Redis:
    """A client with a bounded pool; nothing is opened before the first command.

    Commands that fail for want of a connection are sent again up to three times: every write of ours is idempotent
    (explicit stream ids, compare-and-append), so a lost reply does no harm. ``timeout_s`` None is for reads that block.
    """
    pool = aioredis.BlockingConnectionPool.from_url(
        url,
        max_connections=size,
        timeout=POOL_WAIT_S,
        socket_timeout=timeout_s,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_keepalive=None if url.startswith("unix://") else True,
        retry=Retry(ExponentialBackoff(cap=0.5, base=0.02), 3),
        retry_on_error=[RedisConnectionError, RedisTimeoutError],
        health_check_interval=15,
    )
    return aioredis.Redis.from_pool(pool)


@contextmanager
def unavailable() -> Iterator[None]:
    """Raise :class:`LogUnavailable` for whatever Redis could not do."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise LogUnavailable(f"Redis: {type(error).__name__}: {error}") from error


def text(value: Any) -> str:
    """A reply of Redis as text; nil is the empty text."""
    return value.decode() if isinstance(value, bytes) else str(value or "")
