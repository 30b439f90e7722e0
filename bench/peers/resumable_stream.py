"""resumable-stream, the npm package, on Node.js with the ``redis`` client, as its README uses it."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

from bench.child import start
from bench.peers.install import SERVER
from bench.peers.positions import characters, positions
from bench.redis_meter import RedisMeter
from bench.systems import Publishing, Stream, System, Viewer
from rejoinder.embedded import EmbeddedServer

START_S = 15.0


class ResumableStream:
    """A Node process that runs. A reader's position is a number of characters, the README's ``resumeAt``."""

    name = "resumable-stream"
    ids = False

    def __init__(self, port: int, feed_port: int, pid: int, meter: RedisMeter) -> None:
        self.port = port
        self.redis = meter
        self._feed_port = feed_port
        self._pid = pid
        self._names = itertools.count()

    @property
    def pids(self) -> Mapping[str, Sequence[int]]:
        """One process: it makes the streams and serves them."""
        return {"node": [self._pid]}

    async def open_streams(self, count: int) -> list[Stream]:
        """A stream is made by its first reader or token."""
        return [Stream(f"s{next(self._names)}") for _ in range(count)]

    async def viewers(self, wanted: Sequence[tuple[Stream, int]]) -> list[Viewer]:
        """Readers; who has seen something skips as many characters as it has got."""
        places = [(f"/streams/{stream.name}", seen) for stream, seen in wanted]
        found = await positions(self.port, [place for place in places if place[1]], characters)
        return [
            Viewer(f"{path}?resumeAt={found[path, seen]}" if seen else path, next=seen + 1) for path, seen in places
        ]

    def publishing(self) -> Publishing:
        """Into the process that serves them."""
        return Publishing("bench.peers.publishing:resumable_stream", {"feed_port": self._feed_port})

    async def log_bytes(self, stream: Stream) -> int | None:  # noqa: ARG002 - the harness's signature
        """There is no log: what was said is in the producer's memory."""
        return None


@asynccontextmanager
async def resumable_stream() -> AsyncGenerator[System]:
    """Inside, Node serves, on a fresh server of Redis's. Raises :class:`~bench.child.ChildFailed`."""
    async with EmbeddedServer() as server, RedisMeter(server.url) as meter:
        node = shutil.which("node") or "node"
        # With DEBUG set, whoever set it, the package logs every token.
        inherited = {name: value for name, value in os.environ.items() if name != "DEBUG"}
        env = {**inherited, "REDIS_URL": server.url, "NODE_ENV": "production"}
        command = (node, str(SERVER / "server.mjs"))
        async with start("resumable-stream", command, env=env, serves=True, talks=True) as child:
            ports = await child.hear(START_S)
            yield ResumableStream(ports["port"], ports["feed_port"], child.pid, meter)
