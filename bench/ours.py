"""Rejoinder as a system under test: the real node with a key, and logs written through the product's own scripts."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

from bench.child import ChildFailed, start
from bench.redis_meter import RedisMeter
from bench.systems import Publishing, Stream, System, Viewer
from broker.events import Started, created_head, encode_entry
from broker.jobs import TOMBSTONE_MS
from broker.keys import Keys
from broker.records import new_id
from broker.redis import connect
from broker.scripts import Claim, Creation, Fence, Scripts
from rejoinder.embedded import EmbeddedServer
from rejoinder.ports import LOOPBACK, free_port
from rejoinder.probe import is_ready

PREFIX = "rejoinder"
TENANT = "bench"
LEASE_MS = 600_000
FIRST = 2
"""Entries before the first token: created, started."""
READY_S = 30.0
AT_ONCE = 200


class Ours:
    """A node that runs; made by :func:`ours`."""

    ids = True

    def __init__(self, name: str, url: str, port: int, key: str, pid: int, meter: RedisMeter) -> None:
        self.name = name
        self.port = port
        self._url = url
        self._key = key
        self._pid = pid
        self._meter = meter

    @property
    def pids(self) -> Mapping[str, Sequence[int]]:
        """The one node."""
        return {"node": [self._pid]}

    @property
    def redis(self) -> RedisMeter | None:
        """The server of the log."""
        return self._meter

    async def open_streams(self, count: int) -> list[Stream]:
        """Logs that are created, claimed and started, without the queue."""
        redis = connect(self._url)
        scripts = Scripts(redis, Keys(PREFIX))
        streams: list[Stream] = []
        try:
            for first in range(0, count, AT_ONCE):
                streams += await asyncio.gather(*(_open(scripts) for _ in range(min(AT_ONCE, count - first))))
        finally:
            await redis.aclose()
        return streams

    async def viewers(self, wanted: Sequence[tuple[Stream, int]]) -> list[Viewer]:
        """By position: entries are numbered, so no look into Redis is needed."""
        return [
            Viewer(
                f"/v1/generations/{stream.name}/events",
                {
                    "Authorization": f"Bearer {self._key}",
                    "Last-Event-ID": f"{stream.data['epoch']}-{FIRST + after}",
                },
                next=after + 1,
                seq=FIRST + after,
            )
            for stream, after in wanted
        ]

    def publishing(self) -> Publishing:
        """Packed appends over one connection."""
        return Publishing("bench.ours_publisher:publisher", {"url": self._url})

    async def log_bytes(self, stream: Stream) -> int | None:
        """The log's own key."""
        return await self._meter.memory_usage(Keys(PREFIX).log(stream.name))


async def _open(scripts: Scripts) -> Stream:
    name, owner = new_id(0), secrets.token_hex(16)
    creation = Creation(
        tenant=TENANT,
        model="bench/tokens",
        metadata=b"{}",
        head=created_head(name, "bench/tokens", {}),
        request=b'{"model":"bench/tokens","input":"x"}',
        deadline_ms=3_600_000,
        retention_ms=3_600_000,
        tombstone_ms=TOMBSTONE_MS,
        on_worker_loss="restart",
        cancel_after_ms=None,
        idempotency="",
    )
    await scripts.create(name, creation)
    lost = (b'{"type":"generation.failed","error":{}', b"{}")
    claim = await scripts.claim(name, owner, lease_ms=LEASE_MS, max_attempts=3, whole_ms=LEASE_MS, lost=lost)
    assert isinstance(claim, Claim), claim
    entry = encode_entry(Started(1, "restart", "bench", "tokens"))
    fence = Fence(owner, claim.epoch)
    reply = await scripts.append(name, fence, FIRST, [entry], lease_ms=LEASE_MS, started="restart 1")
    assert reply.kind == "ok", reply
    return Stream(name, {"owner": owner, "epoch": claim.epoch})


@asynccontextmanager
async def ours(name: str = "ours", **settings: str) -> AsyncGenerator[System]:
    """One node with a key on a fresh server; ``settings``, without their prefix, beside those of the environment."""
    key = secrets.token_hex(16)
    port = free_port()
    async with EmbeddedServer() as server, RedisMeter(server.url) as meter:
        given = {"REDIS_URL": server.url, "KEY_PREFIX": PREFIX, "API_KEYS": f"{TENANT}:{key}", **settings}
        env = {**os.environ, **{f"REJOINDER_{setting}": value for setting, value in given.items()}}
        command = (sys.executable, "-m", "rejoinder", "api", "--port", str(port))
        async with start(name, command, env=env, serves=True) as node:
            await until_ready(f"http://{LOOPBACK}:{port}")
            yield Ours(name, server.url, port, key, node.pid, meter)


async def until_ready(url: str) -> None:
    """Return when a node says that it is ready. Raises :class:`bench.child.ChildFailed`: not in time."""
    try:
        async with asyncio.timeout(READY_S):
            while not await is_ready(url):  # noqa: ASYNC110 - another process has no event to wait for
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise ChildFailed(f"{url} was not ready within {READY_S:.0f} s") from None
