"""The naive design as a system under test."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import redis.asyncio as aioredis

from bench.child import start
from bench.ours import until_ready
from bench.publishing import RedisPipe
from bench.redis_meter import OWN_NAME, RedisMeter
from bench.systems import JsonObject, Publisher, Publishing, Stream, System, Viewer
from rejoinder.embedded import EmbeddedServer
from rejoinder.ports import LOOPBACK, free_port


class Naive:
    """A process that runs; made by :func:`naive`."""

    name = "naive"
    ids = False

    def __init__(self, url: str, port: int, pid: int, meter: RedisMeter) -> None:
        self.port = port
        self._url = url
        self._pid = pid
        self._meter = meter
        self._names = itertools.count()

    @property
    def pids(self) -> Mapping[str, Sequence[int]]:
        """The one process."""
        return {"node": [self._pid]}

    @property
    def redis(self) -> RedisMeter | None:
        """The server of the streams."""
        return self._meter

    async def open_streams(self, count: int) -> list[Stream]:
        """A stream is made by its first entry."""
        return [Stream(f"stream-{next(self._names)}") for _ in range(count)]

    async def viewers(self, wanted: Sequence[tuple[Stream, int]]) -> list[Viewer]:
        """By the id of the last entry seen, which only Redis knows."""
        ids: dict[tuple[str, int], str] = {}
        redis: Any = cast("Any", aioredis.Redis).from_url(self._url, client_name=OWN_NAME)
        try:
            for stream, after in wanted:
                if after and (stream.name, after) not in ids:
                    rows = await redis.xrange(stream.name, count=after)
                    ids[stream.name, after] = rows[-1][0].decode()
        finally:
            await redis.aclose()
        return [
            Viewer(
                f"/streams/{stream.name}/events",
                {"Last-Event-ID": ids[stream.name, after]} if after else {},
                next=after + 1,
            )
            for stream, after in wanted
        ]

    def publishing(self) -> Publishing:
        """XADD over one connection."""
        return Publishing("bench.naive.system:publisher", {"url": self._url})

    async def log_bytes(self, stream: Stream) -> int | None:
        """The stream's key."""
        return await self._meter.memory_usage(stream.name)


@asynccontextmanager
async def naive() -> AsyncGenerator[System]:
    """One process on a fresh server."""
    port = free_port()
    async with EmbeddedServer() as server, RedisMeter(server.url) as meter:
        env = {**os.environ, "NAIVE_REDIS_URL": server.url, "NAIVE_PORT": str(port)}
        async with start("naive", (sys.executable, "-m", "bench.naive.app"), env=env, serves=True) as node:
            await until_ready(f"http://{LOOPBACK}:{port}")
            yield Naive(server.url, port, node.pid, meter)


class NaivePublisher(RedisPipe):
    """One XADD per token, its data as JSON."""

    def __init__(self, url: str, streams: Sequence[Stream]) -> None:
        super().__init__(url)
        self._names = [stream.name.encode() for stream in streams]

    def publish(self, stream: int, number: int, text: bytes) -> None:
        """One entry; Redis numbers it."""
        del number
        name = self._names[stream]
        data = b'{"type":"text.delta","text":"%b"}' % text
        self.post(
            b"*5\r\n$4\r\nXADD\r\n$%d\r\n%b\r\n$1\r\n*\r\n$4\r\ndata\r\n$%d\r\n%b\r\n"
            % (len(name), name, len(data), data)
        )


def publisher(args: JsonObject, streams: Sequence[Stream]) -> Publisher:
    """For the producer."""
    return NaivePublisher(args["url"], streams)
