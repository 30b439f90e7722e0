"""nchan, the pub/sub module of nginx: one worker process, messages in its memory or, as ``nchan-redis``, in Redis."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from bench.child import start
from bench.peers.nchan_config import config
from bench.peers.positions import last_id, positions
from bench.peers.until_says import until_says
from bench.redis_meter import RedisMeter
from bench.systems import Publishing, Stream, System, Viewer
from rejoinder.embedded import EmbeddedServer
from rejoinder.ports import free_port

START_S = 15.0


class Nchan:
    """An nginx that runs. Viewers are EventSources; where one stands is its ``Last-Event-ID``, as in a browser."""

    ids = False

    def __init__(self, name: str, port: int, worker: int, meter: RedisMeter | None) -> None:
        self.name = name
        self.port = port
        self.redis = meter
        self._worker = worker
        self._names = itertools.count()

    @property
    def pids(self) -> Mapping[str, Sequence[int]]:
        """The worker process; its master only sleeps."""
        return {"node": [self._worker]}

    async def open_streams(self, count: int) -> list[Stream]:
        """A channel is made by its first subscriber or message."""
        return [Stream(f"s{next(self._names)}") for _ in range(count)]

    async def viewers(self, wanted: Sequence[tuple[Stream, int]]) -> list[Viewer]:
        """Subscribers; who has seen something says with which message id it stopped."""
        places = [(f"/subscribe/{stream.name}", seen) for stream, seen in wanted]
        found = await positions(self.port, [place for place in places if place[1]], last_id)
        accept = {"Accept": "text/event-stream"}
        return [
            Viewer(path, {**accept, "Last-Event-ID": found[path, seen]} if seen else accept, next=seen + 1)
            for path, seen in places
        ]

    def publishing(self) -> Publishing:
        """By HTTP."""
        return Publishing("bench.peers.publishing:nchan", {"port": self.port})

    async def log_bytes(self, stream: Stream) -> int | None:  # noqa: ARG002 - the harness's signature
        """Not told: a message is an allocation of its own in nginx's shared memory, or several keys in Redis."""
        return None


@asynccontextmanager
async def nchan() -> AsyncGenerator[System]:
    """Inside, nginx serves from its memory. Raises :class:`~bench.child.ChildFailed`."""
    async with _serving("nchan", None, None) as system:
        yield system


@asynccontextmanager
async def nchan_redis() -> AsyncGenerator[System]:
    """Inside, nginx serves on a fresh server of Redis's. Raises :class:`~bench.child.ChildFailed`."""
    async with (
        EmbeddedServer() as server,
        RedisMeter(server.url) as meter,
        _serving("nchan-redis", server.url, meter) as system,
    ):
        yield system


@asynccontextmanager
async def _serving(name: str, redis_url: str | None, meter: RedisMeter | None) -> AsyncGenerator[System]:
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        path = Path(folder) / "nginx.conf"
        path.write_text(config(port, Path(folder), redis_url=redis_url))
        command = (shutil.which("nginx") or "nginx", "-p", folder, "-c", str(path), "-e", "stderr")
        async with start(name, command, serves=True) as master:
            # Until its connection to Redis stands, nchan refuses subscribers with 503.
            await until_says(port, "/status", b"redis connected servers: %d" % (redis_url is not None), START_S)
            yield Nchan(name, port, _only_child(master.pid), meter)


def _only_child(pid: int) -> int:
    """The worker of a master."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
