"""A server that speaks RESP and behaves as a test says: answers, keeps silent, hangs up, or talks nonsense."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import hiredis

from broker.redis import Redis, connect


class ScriptedRedis:
    """Answers ``ECHO x`` with x; to everything else it says OK."""

    def __init__(self) -> None:
        self.port = 0
        self.silent = False
        self.next_reply: bytes | None = None
        """Sent once, in place of an answer."""
        self.commands: list[list[bytes]] = []
        self.reads = 0
        """How often data arrived."""
        self.connections = 0
        self.pings = 0
        self.subscribed = False
        self.writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self, timeout_s: float = 0.5) -> Redis:
        """A client that makes connections to it."""
        return connect(self.url, size=1, retries=0, timeout_s=timeout_s)

    def cut(self) -> None:
        """Reset all connections."""
        for writer in self.writers:
            writer.transport.abort()

    def say(self, data: bytes) -> None:
        """Unasked."""
        for writer in self.writers:
            writer.write(data)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        self.subscribed = False
        self.writers.add(writer)
        parser: Any = hiredis.Reader()
        try:
            while data := await reader.read(65536):
                self.reads += 1
                parser.feed(data)
                while (command := parser.gets()) is not False:
                    self._take(command, writer)
        except ConnectionError:
            pass
        finally:
            self.writers.discard(writer)
            writer.transport.abort()

    def _pong(self) -> bytes:
        return b"*2\r\n$4\r\npong\r\n$0\r\n\r\n" if self.subscribed else b"+PONG\r\n"

    def publish(self, channel: bytes, payload: bytes) -> bytes:
        """The push of a message."""
        sizes = len(channel), channel, len(payload), payload
        return b"*3\r\n$7\r\nmessage\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % sizes

    def _take(self, command: list[bytes], writer: asyncio.StreamWriter) -> None:
        if command[0] in (b"CLIENT", b"PING"):
            # The handshake, and what keeps a connection.
            self.pings += command[0] == b"PING"
            if not self.silent:
                writer.write(self._pong() if command[0] == b"PING" else b"+OK\r\n")
            return
        if command[0] == b"SUBSCRIBE" and not self.silent and self.next_reply is None:
            self.subscribed = True
            for channel in command[1:]:
                writer.write(b"*3\r\n$9\r\nsubscribe\r\n$%d\r\n%b\r\n:1\r\n" % (len(channel), channel))
        self.commands.append(command)
        if self.next_reply is not None:
            reply, self.next_reply = self.next_reply, None
            writer.write(reply)
        elif not self.silent and command[0] != b"SUBSCRIBE":
            said = b"$%d\r\n%b\r\n" % (len(command[1]), command[1]) if command[0] == b"ECHO" else b"+OK\r\n"
            writer.write(said)


@asynccontextmanager
async def scripted_redis() -> AsyncGenerator[ScriptedRedis]:
    """One, listening."""
    redis = ScriptedRedis()
    server = await asyncio.start_server(redis.serve, "127.0.0.1", 0)
    redis.port = server.sockets[0].getsockname()[1]
    try:
        yield redis
    finally:
        server.close()
        redis.cut()
        await server.wait_closed()
