"""What lies between a client and the service: a TCP proxy that cuts streams at a byte, and tells what passed.

Every connection carries one request (the server behind says ``Connection: close``), so that the bytes of a response can
be counted without reading HTTP any further than its head.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Self

_CHUNK = 64 * 1024
_RESET = struct.pack("ii", 1, 0)
_HEAD_END = b"\r\n\r\n"
_FRAMING = re.compile(rb"\r\n[0-9a-fA-F]+\r\n")


@dataclass
class Exchange:
    """One request and its answer, as far as they have passed."""

    client: asyncio.StreamWriter
    request: bytes = b""
    head: bytes = b""
    body: int = 0
    """Bytes of the answer's body that have been passed on, framing of chunks included."""
    cut: bool = False
    target: asyncio.StreamWriter | None = None
    """The way to the server, once there is one."""
    deaf: bool = False
    """The client is out of reach, and nobody knows: what is still to come is lost, and then its connection is reset."""

    @property
    def line(self) -> str:
        """The request line without the version."""
        return self.request.partition(b"\r\n")[0].decode().rpartition(" ")[0]

    @property
    def status(self) -> int:
        """Of the answer; 0 = none came."""
        return int(self.head.split(b" ", 2)[1]) if self.head else 0

    @property
    def streams(self) -> bool:
        """Whether the answer is a stream of events."""
        return self.header("content-type").startswith("text/event-stream")

    def header(self, name: str) -> str:
        """A header of the answer; empty = it has none."""
        return _header(self.head, name)

    def asked(self, name: str) -> str:
        """A header of the request; empty = it has none."""
        return _header(self.request, name)

    def reset(self) -> None:
        """The client sees its connection reset."""
        self.cut = True
        connection = self.client.get_extra_info("socket")
        with contextlib.suppress(OSError, AttributeError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.client.transport.abort()

    def leave(self) -> None:
        """The server sees that nobody reads any more."""
        if self.target is not None:
            self.target.transport.abort()

    def close(self) -> None:
        """The client sees its connection closed in the middle of a chunked body."""
        self.cut = True
        self.client.close()


def _header(head: bytes, name: str) -> str:
    for line in head.decode("latin-1").split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key.lower() == name:
            return value.strip()
    return ""


Trouble = Callable[[Exchange], Awaitable[None] | None]


@dataclass
class Plan:
    """What happens to the next stream when ``after`` bytes of its body have passed, or before that ``mark``."""

    after: int
    trouble: Trouble
    mark: bytes = b""

    def kept(self, passed: int, body: bytes, seen: bytes) -> int | None:
        """How much of ``body`` passes before the trouble; ``None`` = not time yet. ``seen``: all, and ``body``."""
        if passed + len(body) >= self.after:
            return self.after - passed
        # Chunks of HTTP may divide the mark; a stream of events itself has no carriage return.
        return len(body) if self.mark and self.mark in _FRAMING.sub(b"", seen) else None


async def _happen(trouble: Trouble, exchange: Exchange, source: asyncio.StreamReader) -> None:
    what = trouble(exchange)
    if what is not None:
        await what
    if exchange.deaf:
        await source.read(-1)
        exchange.reset()


async def reset(exchange: Exchange) -> None:
    """A plan's trouble: the connection is reset."""
    exchange.reset()


async def close(exchange: Exchange) -> None:
    """A plan's trouble: the connection is closed too early."""
    exchange.close()


async def lose_the_rest(exchange: Exchange) -> None:
    """A plan's trouble: the whole answer is sent, and its rest does not arrive."""
    exchange.deaf = True


async def refuse(exchange: Exchange) -> None:
    """An early trouble: whoever is in between answers 503."""
    exchange.client.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    exchange.close()


@dataclass
class Wire:
    """An async context manager that listens on the loopback and passes everything on to ``target``."""

    target: int
    """The port behind."""
    plans: deque[Plan] = field(default_factory=deque[Plan])
    """One for each stream to come, in turn."""
    early: deque[Trouble] = field(default_factory=deque[Trouble])
    """The same, before the client has been told anything."""
    exchanges: list[Exchange] = field(default_factory=list[Exchange])
    port: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    @property
    def url(self) -> str:
        """The address to give to a client."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def told(self) -> str:
        """What has passed, for whoever reads of a failure."""
        return "\n".join(
            f"{exchange.line} -> {exchange.status} {exchange.header('x-rejoinder-node')} "
            f"{exchange.header('x-generation-id')} {exchange.body} B{' cut' * exchange.cut}"
            for exchange in self.exchanges
        )

    @property
    def streams(self) -> list[Exchange]:
        """The exchanges whose answer was a stream of events."""
        return [exchange for exchange in self.exchanges if exchange.streams]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Also where it is cancelled before it has begun.
        task.add_done_callback(lambda _: writer.close())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        exchange = Exchange(writer)
        try:
            answers, target = await asyncio.open_connection("127.0.0.1", self.target, limit=_CHUNK)
        except OSError:
            exchange.reset()
            return
        exchange.target = target
        asking = asyncio.ensure_future(self._up(exchange, reader, target))
        try:
            await self._down(exchange, answers)
        except OSError:
            exchange.reset()
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            target.transport.abort()
            writer.close()

    async def _up(self, exchange: Exchange, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """What the client says; a client that goes away takes the connection behind with it."""
        try:
            while data := await source.read(_CHUNK):
                if not exchange.request:
                    self.exchanges.append(exchange)
                exchange.request += data
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        if exchange.client.is_closing() or not exchange.request:
            sink.transport.abort()
        else:
            with contextlib.suppress(OSError):
                sink.write_eof()

    async def _down(self, exchange: Exchange, source: asyncio.StreamReader) -> None:
        head = b""
        while _HEAD_END not in head:
            data = await source.read(_CHUNK)
            if not data:
                break
            head += data
        exchange.head, _, body = head.partition(_HEAD_END)
        # What has no id is no answer: useChat is told so that nothing runs.
        answers = exchange.streams and exchange.header("x-generation-id")
        if answers and self.early:
            await _happen(self.early.popleft(), exchange, source)
            return
        plan = self.plans.popleft() if answers and self.plans else None
        exchange.client.write(head[: len(head) - len(body)])
        seen = body
        while not exchange.cut:
            kept = plan.kept(exchange.body, body, seen) if plan is not None else None
            if plan is not None and kept is not None:
                await self._pass(exchange, body[:kept])
                body, happens, plan = body[kept:], plan.trouble, None
                await _happen(happens, exchange, source)
                continue
            await self._pass(exchange, body)
            body = await source.read(_CHUNK)
            if not body:
                return
            seen += body if plan is not None else b""

    async def _pass(self, exchange: Exchange, data: bytes) -> None:
        exchange.client.write(data)
        exchange.body += len(data)
        await exchange.client.drain()
