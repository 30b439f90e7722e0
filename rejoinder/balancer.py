"""A TCP round robin: bytes pass untouched both ways, and so does the way a connection ends.

A half-close stays a half-close and a reset stays a reset, because for a stream the difference between the two is the
difference between an end and a cut. What is in flight is bounded: a side that does not read slows the other one down.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, Self

from rejoinder.ports import LOOPBACK

_CHUNK = 64 * 1024
_CONNECT_S = 2.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Backend(NamedTuple):
    """Where connections are passed on to."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class _Side:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def reset(self) -> None:
        connection = self.writer.get_extra_info("socket")
        if connection is not None:
            with suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.writer.transport.abort()


class Balancer:
    """An async context manager that listens on the loopback and spreads connections over its backends in turn.

    Args:
        backends: may be replaced at any time through the attribute of the same name.
        port: 0 = any free one.

    Entering raises ``OSError`` when the port can't be had.
    """

    def __init__(self, backends: Sequence[Backend] = (), *, host: str = LOOPBACK, port: int = 0) -> None:
        self.backends = list(backends)
        self.host = host
        self.port = port
        self._turn = 0
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[object], tuple[_Side, ...]] = {}
        self._closing = False

    @property
    def url(self) -> str:
        """The base URL of HTTP servers behind it."""
        return f"http://{self.host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many are open now."""
        return len(self._open)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self.host, self.port, limit=_CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._server is not None:
            self._server.close()
        # Not cancelled: the streams of Python 3.11 complain about cancelled connections. A reset ends them as well.
        self._closing = True
        self.cut()
        await asyncio.gather(*self._open, return_exceptions=True)

    def cut(self) -> int:
        """Reset every open connection on both sides, as a failing network would; returns how many there were."""
        cut = len(self._open)
        for sides in self._open.values():
            for side in sides:
                side.reset()
        return cut

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection is served by a task")
        client = _Side(reader, writer)
        self._open[task] = (client,)
        try:
            backend = await self._connect()
            if backend is None:
                client.reset()
                return
            self._open[task] = (client, backend)
            if self._closing:
                self.cut()
            await _join(client, backend)
        finally:
            for side in self._open.pop(task):
                side.writer.close()

    async def _connect(self) -> _Side | None:
        backends = list(self.backends)
        start, self._turn = self._turn, self._turn + 1
        for offset in range(len(backends)):
            backend = backends[(start + offset) % len(backends)]
            with suppress(OSError):
                async with asyncio.timeout(_CONNECT_S):
                    return _Side(*await asyncio.open_connection(backend.host, backend.port, limit=_CHUNK))
        return None


async def _join(one: _Side, other: _Side) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_pump(one, other))
            group.create_task(_pump(other, one))
    except* OSError:
        one.reset()
        other.reset()


async def _pump(source: _Side, target: _Side) -> None:
    while data := await source.reader.read(_CHUNK):
        target.writer.write(data)
        await target.writer.drain()
    # A peer that closed both ways at once has nothing left to half-close.
    with suppress(OSError):
        target.writer.write_eof()
