"""nchan, the pub/sub module of nginx: one worker process, messages in its memory or, as ``nchan-redis``, in Redis."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from bench.peers.nchan_config import config
from bench.peers.positions import last_id, positions
from bench.peers.process import SERVER_CORE, children, running, until_says
from bench.redis_meter import RedisMeter
from bench.systems import Publishing, Stream, System, Viewer
from rejoinder.ports import free_port


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
async def nchan(name: str, meter: RedisMeter | None = None, redis_url: str | None = None) -> AsyncGenerator[System]:
    """Inside, nginx serves. Raises :class:`~bench.peers.process.NotStarted`."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = free_port()
        path = folder / "nginx.conf"
        path.write_text(config(port, folder, redis_url=redis_url))
        command = ["nginx", "-p", str(folder), "-c", str(path), "-e", "stderr"]
        process = await stack.enter_async_context(running(command, SERVER_CORE))
        # Until its connection to Redis stands, nchan refuses subscribers with 503.
        await until_says(port, "/status", b"redis connected servers: %d" % (redis_url is not None))
        yield Nchan(name, port, children(process.pid)[0], meter)
