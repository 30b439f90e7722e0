"""A connection of redis-py's, driven directly with hiredis: replies in a callback, no task wake, no wait.

redis-py connects and shakes hands (TLS, authentication, database); then this protocol takes its place on the
transport. docs/adr/0014.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import hiredis
from redis._parsers.base import BaseParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

from broker.redis import Redis

_log = logging.getLogger(__name__)

WRITE_LIMIT = 64 * 2**20
"""Bytes that may wait in the transport: a server that takes nothing for so long is not there."""


_pack: Callable[[tuple[Any, ...]], bytes] = hiredis.pack_command  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
_error: Callable[[str], Exception] = BaseParser.parse_error  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def pack(*args: Any) -> bytes:
    """One command in RESP. A first word with a blank in it, such as ``CONFIG SET``, is two words to Redis."""
    name, *rest = args
    words: Sequence[Any] = name.split() if isinstance(name, str) else (name,)
    return _pack((*words, *rest))


class Link(asyncio.Protocol):
    """One open connection. ``heard`` gets all replies of one read, error replies as exceptions; ``lost`` comes once."""

    def __init__(self, heard: Callable[[list[Any]], None], lost: Callable[[Link, Exception], None]) -> None:
        self._heard = heard
        self._lost = lost
        self._parser = hiredis.Reader(protocolError=InvalidResponse, replyError=_error)
        self._connection: Any = None
        self._transport: Any = None
        self._closed = False

    async def open(self, redis: Redis) -> None:
        """Connect as this client does, by a connection of its own. Raises ``RedisError`` or ``OSError``."""
        connection = redis.connection_pool.make_connection()
        try:
            await connection.connect()
        except (RuntimeError, ValueError) as error:
            # uvloop's own, about a transport that is closing; and asyncio's, about one that is closed.
            raise RedisConnectionError(f"Error while connecting: {error}") from error
        if connection._reader.at_eof():  # noqa: SLF001 - nor to this
            # Told to redis-py's protocol, which keeps the transport: ours would never hear of it.
            await connection.disconnect(nowait=True)
            raise RedisConnectionError("Connection closed by server.")
        self._connection = connection
        self._transport = connection._writer.transport  # noqa: SLF001 - redis-py has no public way to it
        self._transport.set_protocol(self)

    @property
    def open_still(self) -> bool:
        """Nobody has closed it, and it has not been lost."""
        return not self._closed and not self._transport.is_closing()

    def write(self, data: bytes) -> None:
        """Send whole commands. A connection that can't take them is lost."""
        if self._closed:
            return
        if self._transport.get_write_buffer_size() > WRITE_LIMIT:
            self.close(RedisConnectionError("Redis takes nothing"))
            return
        try:
            self._transport.write(data)
        except (OSError, RuntimeError) as error:
            # uvloop has a RuntimeError of its own for a transport that was closed under us.
            self.close(RedisConnectionError(f"Error while writing to socket: {error}"))

    def data_received(self, data: bytes) -> None:
        """Parse, and hand on what is whole."""
        replies: list[Any] = []
        try:
            self._parser.feed(data)
            gets = self._parser.gets
            while (reply := gets()) is not False:
                replies.append(reply)
        except InvalidResponse as error:
            self.close(error)
            return
        if replies and not self._closed:
            self._heard(replies)

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side, or the network."""
        self.close(
            RedisConnectionError(f"Connection closed by server: {exc}" if exc else "Connection closed by server.")
        )

    def close(self, error: Exception | None = None) -> None:
        """Let go of it now; tells ``lost`` unless it was our own wish (no ``error``)."""
        if self._closed:
            return
        self._closed = True
        if self._transport is not None:
            # Not close(): what waits to be sent to a server that takes nothing would keep the socket.
            self._transport.abort()
        connection, self._connection = self._connection, None
        if connection is not None:
            # It would warn of a socket that it takes for open.
            connection._reader = connection._writer = None  # noqa: SLF001 - redis-py could only do it by waiting
        if error is not None:
            self._lost(self, error)
