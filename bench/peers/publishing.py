"""How the producer publishes on the peers: in its own process, never waiting, acknowledged in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

from bench.systems import JsonObject, Stream

CONNECTIONS = 8
SETTLE_S = 30.0
"""A server that has not taken everything by then never will."""
_ACCEPTED = b"HTTP/1.1 20"


class PublishFailed(Exception):
    """The server refused a token, hung up, or did not answer in time."""


class Pipe(asyncio.Protocol):
    """One connection: what is sent is counted, and so are the acknowledgements, by a mark that each one holds."""

    def __init__(self, mark: bytes) -> None:
        self.sent: int = 0
        self.taken: int = 0
        self._mark = mark
        self._kept = b""
        self._transport: asyncio.WriteTransport | None = None
        self._settled = asyncio.Event()

    async def open(self, port: int) -> None:
        """Connect. Raises ``OSError``."""
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Count marks; the last bytes are kept because one may be split over two reads."""
        data = self._kept + data
        self.taken += data.count(self._mark)
        self._kept = data[max(len(data) - len(self._mark) + 1, 0) :]
        if self.taken >= self.sent:
            self._settled.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Whoever waits waits no longer."""
        self._settled.set()

    def write(self, data: bytes, count: int) -> None:
        """Send what ``count`` acknowledgements will come for."""
        assert self._transport is not None
        self.sent += count
        self._settled.clear()
        self._transport.write(data)

    async def settle(self) -> None:
        """Return once all was acknowledged. Raises :class:`PublishFailed`."""
        try:
            async with asyncio.timeout(SETTLE_S):
                if self.taken < self.sent:
                    await self._settled.wait()
        except TimeoutError:
            pass
        if self.taken < self.sent:
            raise PublishFailed(f"{self.taken} of {self.sent} were taken")

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


class HttpPublisher:
    """nchan: HTTP POST over a few keep-alive connections, pipelined, which is the cheapest way into it.

    nchan's other way in, a WebSocket for each channel, cost its worker 10-50 % more per message when we compared them.
    Tokens of one channel always take the same connection, so that they keep their order.
    """

    def __init__(self, port: int, channels: Sequence[str]) -> None:
        self._port = port
        self._heads = [
            f"POST /publish/{name} HTTP/1.1\r\nHost: bench\r\nContent-Length: ".encode() for name in channels
        ]
        self._pipes = [Pipe(_ACCEPTED) for _ in range(CONNECTIONS)]
        self._waiting: list[list[bytes]] = [[] for _ in range(CONNECTIONS)]

    async def open(self) -> None:
        """Connect."""
        for pipe in self._pipes:
            await pipe.open(self._port)

    def publish(self, stream: int, number: int, text: bytes) -> None:  # noqa: ARG002 - the number is in the text
        """Take a token."""
        self._waiting[stream % CONNECTIONS].append(b"%s%d\r\n\r\n%s" % (self._heads[stream], len(text), text))

    def flush(self) -> None:
        """Send what was taken."""
        for pipe, waiting in zip(self._pipes, self._waiting, strict=True):
            if waiting:
                pipe.write(b"".join(waiting), len(waiting))
                waiting.clear()

    async def settle(self) -> None:
        """Every token was answered with 201 or 202. Raises :class:`PublishFailed`."""
        for pipe in self._pipes:
            await pipe.settle()

    async def close(self) -> None:
        """Hang up."""
        for pipe in self._pipes:
            pipe.close()


class LinePublisher:
    """resumable-stream: one connection that carries ``<stream> <token>`` lines, as a provider's connection would.

    The package keeps the answer in the process that made it, so the tokens have to come into that very process.
    """

    def __init__(self, port: int, streams: Sequence[str]) -> None:
        self._port = port
        self._heads = [f"{name} ".encode() for name in streams]
        self._pipe = Pipe(b"\n")
        self._waiting: list[bytes] = []

    async def open(self) -> None:
        """Connect."""
        await self._pipe.open(self._port)

    def publish(self, stream: int, number: int, text: bytes) -> None:  # noqa: ARG002 - the number is in the text
        """Take a token."""
        self._waiting.append(self._heads[stream] + text + b"\n")

    def flush(self) -> None:
        """Send what was taken."""
        if self._waiting:
            self._pipe.write(b"".join(self._waiting), 0)
            self._waiting.clear()

    async def settle(self) -> None:
        """All of it is in the package's hands. Raises :class:`PublishFailed`."""
        self._pipe.write(b"settle\n", 1)
        await self._pipe.settle()

    async def close(self) -> None:
        """Hang up."""
        self._pipe.close()


def nchan(args: JsonObject, streams: Sequence[Stream]) -> HttpPublisher:
    """For the producer's process."""
    return HttpPublisher(args["port"], [stream.name for stream in streams])


def resumable_stream(args: JsonObject, streams: Sequence[Stream]) -> LinePublisher:
    """For the producer's process."""
    return LinePublisher(args["feed_port"], [stream.name for stream in streams])
