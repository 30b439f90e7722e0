"""Whether a Redis server keeps what it is given: asked at the start of every process, and by every readiness probe."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from broker.errors import LogUnavailable, UnfitServer
from broker.redis import Redis, connect, server_info
from broker.settings import Settings

_log = logging.getLogger(__name__)

OLDEST = (6, 2)
OLDEST_WITH_WAITAOF = (7, 2)


def unfit(info: Mapping[str, Any], *, wait_aof: bool = False) -> str | None:
    """What a server's INFO says against it, as a sentence; None = nothing.

    Valkey gives the Redis version it stands for.
    """
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        return (
            f"maxmemory-policy is {policy}: it would evict logs, which are answers. "
            "Set it to noeviction (CONFIG SET maxmemory-policy noeviction, and in the server's configuration)"
        )
    version = _version(info)
    if version is not None and version < OLDEST:
        return f"Redis {'.'.join(map(str, version))} is too old: at least {'.'.join(map(str, OLDEST))} is needed"
    if wait_aof and version is not None and version < OLDEST_WITH_WAITAOF:
        return "REJOINDER_WAIT_AOF needs Redis 7.2 or Valkey 7.2"
    if wait_aof and str(info.get("aof_enabled", 1)) == "0":
        return "REJOINDER_WAIT_AOF needs appendonly yes"
    return None


def _version(info: Mapping[str, Any]) -> tuple[int, int] | None:
    found = re.match(r"(\d+)\.(\d+)", str(info.get("redis_version", "")))
    return (int(found[1]), int(found[2])) if found else None


async def check(redis: Redis, *, wait_aof: bool = False) -> None:
    """Return if the server answers and may be used.

    Raises:
        LogUnavailable: it does not answer.
        UnfitServer: it would lose what it is given.
    """
    info = await server_info(redis)
    if info is None:
        _log.warning("this user may not ask for INFO: nobody checks that the server does not evict")
        return
    problem = unfit(info, wait_aof=wait_aof)
    if problem:
        raise UnfitServer(problem)


async def check_at_start(settings: Settings) -> None:
    """Refuse to start on a server that can't be used; one that is away is checked when it comes.

    Raises:
        UnfitServer: with the sentence for the operator.
    """
    for url in dict.fromkeys((settings.redis_url, settings.queue_url or settings.redis_url)):
        redis = connect(url, size=1, timeout_s=2.0, retries=0)
        try:
            await check(redis, wait_aof=settings.wait_aof and url == settings.redis_url)
        except LogUnavailable as error:
            _log.warning("the server could not be checked yet: %s", error)
        finally:
            await redis.aclose()
