"""What a Redis server says of its own use: CPU, connections, bytes."""

from __future__ import annotations

from typing import Any, Self, cast

import redis.asyncio as aioredis

OWN_NAME = "bench-controller"
PRODUCER_NAME = "bench-producer"
"""Connections of these names are the harness's, and are not counted."""


def others(clients: list[dict[str, str]]) -> int:
    """How many of CLIENT LIST's connections are not the harness's."""
    return sum(client.get("name", "") not in {OWN_NAME, PRODUCER_NAME} for client in clients)


class RedisMeter:
    """Async context manager: one connection, which is not counted."""

    def __init__(self, url: str) -> None:
        self.url = url
        # redis-py's own types are loose: Any says so once.
        self._redis: Any = cast("Any", aioredis.Redis).from_url(url, client_name=OWN_NAME, max_connections=1)

    async def __aenter__(self) -> Self:
        await self._redis.ping()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._redis.aclose()

    async def cpu_ns(self) -> int:
        """Nanoseconds of CPU the server has used, all its threads."""
        info = await self._redis.info("cpu")
        return int((info["used_cpu_user"] + info["used_cpu_sys"]) * 1e9)

    async def connections(self) -> int:
        """Connections of the system under test."""
        return others(await self._redis.client_list())

    async def memory_usage(self, key: str) -> int:
        """Bytes of one key, exactly."""
        return int(await self._redis.memory_usage(key, samples=0) or 0)

    async def memory(self) -> int:
        """Bytes in use, all keys and the server's own."""
        return int((await self._redis.info("memory"))["used_memory"])

    async def version(self) -> str:
        """Name and version of the server."""
        info = await self._redis.info("server")
        valkey = info.get("valkey_version")
        return f"Valkey {valkey}" if valkey else f"Redis {info['redis_version']}"
