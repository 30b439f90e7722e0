"""The producer as an object, and what publishers on Redis share."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import hiredis

from bench.child import Child, start
from bench.redis_meter import PRODUCER_NAME
from bench.systems import Publishing, Stream

_hiredis: Any = hiredis


def pack(*words: str | int | bytes) -> bytes:
    """One command as Redis reads it; hiredis's own types know one word only."""
    return _hiredis.pack_command(words)


START_S = 30.0
SETTLE_S = 30.0


class Refused(RuntimeError):
    """A token was not taken."""


class Producing:
    """A producer that is ready; made by :func:`producing`."""

    def __init__(self, child: Child) -> None:
        self._child = child

    async def run(
        self, count: int, rate: float, *, words: Sequence[str] = (), timeout_s: float = 120.0
    ) -> dict[str, Any]:
        """``count`` tokens per stream at ``rate`` per second and stream, 0 = flat out (bench/producer.py)."""
        await self._child.say(json.dumps({"count": count, "rate": rate, "words": list(words)}))
        return await self._child.hear(timeout_s)


@asynccontextmanager
async def producing(publishing: Publishing, streams: Sequence[Stream]) -> AsyncGenerator[Producing]:
    """Start a producer for these streams."""
    async with start("producer", (sys.executable, "-m", "bench.producer"), talks=True, quiet=False) as child:
        told = [{"name": stream.name, "data": stream.data} for stream in streams]
        await child.say(json.dumps({"make": publishing.make, "args": publishing.args, "streams": told}))
        await child.hear(START_S)
        yield Producing(child)


class RedisPipe(asyncio.Protocol):
    """One connection on which packed commands leave without waiting; replies are counted, errors kept."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._reader = hiredis.Reader(replyError=Refused)
        self._transport: asyncio.WriteTransport | None = None
        self.waiting: list[bytes] = []
        """Commands that the next flush sends."""
        self._unanswered = 0
        self._settled = asyncio.Event()
        self._settled.set()
        self.replies: list[Any] = []
        """What was answered that is not what everybody expects: see :meth:`expected`."""

    def expected(self, reply: Any) -> bool:
        """Whether a reply says that all is well."""
        return not isinstance(reply, Refused)

    async def open(self) -> None:
        """Connect, under a name by which connections of the harness are told from others."""
        loop = asyncio.get_running_loop()
        sock = socket.create_connection((self._url.hostname or "", self._url.port or 6379))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.create_connection(lambda: self, sock=sock)
        if self._url.password:
            self.post(pack("AUTH", self._url.password))
        self.post(pack("CLIENT", "SETNAME", PRODUCER_NAME))
        await self.settle()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        # uvloop's transports are not of asyncio's classes.
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits for replies waits no longer."""
        del exc
        self._settled.set()

    def data_received(self, data: bytes) -> None:
        """Count replies."""
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            self._unanswered -= 1
            if not self.expected(reply):
                self.replies.append(reply)
        if self._unanswered <= 0:
            self._settled.set()

    def post(self, command: bytes) -> None:
        """Take one packed command."""
        self.waiting.append(command)

    def flush(self) -> None:
        """Send what was taken, in one write."""
        if not self.waiting:
            return
        assert self._transport is not None
        self._unanswered += len(self.waiting)
        self._settled.clear()
        self._transport.write(b"".join(self.waiting))
        self.waiting.clear()

    async def settle(self) -> None:
        """Return once every command was answered. Raises :class:`Refused`."""
        self.flush()
        async with asyncio.timeout(SETTLE_S):
            await self._settled.wait()
        if self.replies or self._unanswered > 0:
            raise Refused(f"{self._unanswered} commands without an answer; {self.replies[:3]}")

    async def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()
