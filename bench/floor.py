"""The floor: a C epoll loop that writes the same frames to the same sockets, and does nothing else."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import cast

from bench.child import ChildFailed, start
from bench.load_generator import build
from bench.redis_meter import RedisMeter
from bench.systems import JsonObject, Publisher, Publishing, Stream, System, Viewer
from rejoinder.ports import LOOPBACK, free_port

START_TRIES = 200


class Floor:
    """It keeps nothing: nobody can resume."""

    name = "floor"
    ids = True
    redis: RedisMeter | None = None

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self._pid = pid
        self._numbers = itertools.count(1)

    @property
    def pids(self) -> Mapping[str, Sequence[int]]:
        """The one process."""
        return {"node": [self._pid]}

    async def open_streams(self, count: int) -> list[Stream]:
        """Streams are numbers."""
        return [Stream(str(next(self._numbers))) for _ in range(count)]

    async def viewers(self, wanted: Sequence[tuple[Stream, int]]) -> list[Viewer]:
        """From now on only."""
        if any(after for _, after in wanted):
            raise NotImplementedError("the floor keeps nothing")
        return [Viewer(f"/{stream.name}") for stream, _ in wanted]

    def publishing(self) -> Publishing:
        """Lines over one connection."""
        return Publishing("bench.floor:publisher", {"port": self.port})

    async def log_bytes(self, stream: Stream) -> int | None:
        """There is no log."""
        del stream


@asynccontextmanager
async def floor() -> AsyncGenerator[System]:
    """Compile it if need be, and run it."""
    port = free_port()
    async with start("floor", (str(build("floor")), str(port)), serves=True, quiet=False) as node:
        for _ in range(START_TRIES):
            try:
                socket.create_connection((LOOPBACK, port), timeout=1).close()
                break
            except OSError:
                await asyncio.sleep(0.01)
        else:
            raise ChildFailed("the floor does not listen")
        yield Floor(port, node.pid)


class FloorPublisher(asyncio.Protocol):
    """Lines; nothing is acknowledged, and viewers show whether all came."""

    def __init__(self, port: int, streams: Sequence[Stream]) -> None:
        self._port = port
        self._names = [stream.name.encode() for stream in streams]
        self._lines: list[bytes] = [b"P"]
        self._transport: asyncio.WriteTransport | None = None

    async def open(self) -> None:
        """Connect."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: self, LOOPBACK, self._port)
        self._transport = cast("asyncio.WriteTransport", transport)

    def publish(self, stream: int, number: int, text: bytes) -> None:
        """One line."""
        self._lines.append(b"%b %d %b\n" % (self._names[stream], number, text))

    def flush(self) -> None:
        """Send what was taken."""
        if self._transport is not None and self._lines:
            self._transport.write(b"".join(self._lines))
            self._lines.clear()

    async def settle(self) -> None:
        """There is nothing to wait for."""

    async def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


def publisher(args: JsonObject, streams: Sequence[Stream]) -> Publisher:
    """For the producer."""
    return FloorPublisher(args["port"], streams)
