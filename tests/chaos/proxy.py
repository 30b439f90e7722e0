"""A TCP proxy that fails on command: in front of Redis, one for each process, and in front of the provider."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Self

_CHUNK = 64 * 1024
_RESET = struct.pack("ii", 1, 0)
_CONNECT_S = 2.0


class _Link:
    """One connection: two pumps, and what the faults need to know of it."""

    def __init__(self, client: asyncio.StreamWriter, target: asyncio.StreamWriter | None = None) -> None:
        self.client = client
        self.target = target
        self.armed = False
        """The next reply is to be swallowed, once a request has gone out."""
        self.asked = False

    def reset(self) -> None:
        """Both sides see a connection that was reset."""
        for writer in (self.client, self.target):
            if writer is not None:
                sock = writer.get_extra_info("socket")
                with contextlib.suppress(OSError, AttributeError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                writer.transport.abort()


class FaultProxy:
    """An async context manager on the loopback. All faults may be switched at any time.

    ``target`` may be replaced: new connections go there. ``latency_s`` delays every chunk in either direction.
    """

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.port = 0
        self.latency_s = 0.0
        self.dropped = 0
        """Replies that were swallowed."""
        self._links: set[_Link] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=_CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._server.close()
        self.heal()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def links(self) -> int:
        """Connections that are open."""
        return len(self._links)

    def cut(self) -> int:
        """Reset every connection; answers how many."""
        links = list(self._links)
        for link in links:
            link.reset()
        return len(links)

    def drop_replies(self) -> None:
        """On every open connection: let the next request through, swallow its reply, and reset."""
        for link in self._links:
            link.armed, link.asked = True, False

    def partition(self) -> None:
        """Nothing passes any more, and nobody is told; what was sent meanwhile passes after :meth:`heal`."""
        self._open.clear()

    def heal(self) -> None:
        """End a partition."""
        self._open.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        link = _Link(writer)
        self._links.add(link)
        if task is not None:
            self._tasks.add(task)
        try:
            await self._serve(link, reader)
        except (OSError, TimeoutError):
            link.reset()
        finally:
            self._links.discard(link)
            if task is not None:
                self._tasks.discard(task)
            for side in (link.client, link.target):
                if side is not None:
                    side.close()

    async def _serve(self, link: _Link, reader: asyncio.StreamReader) -> None:
        await self._open.wait()
        async with asyncio.timeout(_CONNECT_S):
            replies, link.target = await asyncio.open_connection(*self.target, limit=_CHUNK)
        pumps = [
            asyncio.ensure_future(self._pump(link, reader, link.target, up=True)),
            asyncio.ensure_future(self._pump(link, replies, link.client, up=False)),
        ]
        try:
            await asyncio.gather(*pumps)
        finally:
            # A reset ends both pumps; waiting for them, not cancelling, is what the streams of 3.11 want.
            link.reset()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, up: bool) -> None:
        loop = asyncio.get_running_loop()
        while data := await source.read(_CHUNK):
            due = loop.time() + self.latency_s
            await self._open.wait()
            if (pause := due - loop.time()) > 0:
                await asyncio.sleep(pause)
                await self._open.wait()
            if up:
                link.asked = True
            elif link.armed and link.asked:
                self.dropped += 1
                link.reset()
                return
            sink.write(data)
            await sink.drain()
        with contextlib.suppress(OSError):
            sink.write_eof()
