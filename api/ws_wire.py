"""The writing end of one WebSocket: bounded, guarded by time, and shared by all generations on it."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, Self

from starlette.types import Scope, Send

from api.wire import EXTENSION, WRITE_LIMIT, guarded
from api.ws_frames import frame

INSIST_LIMIT = 128 * 1024
"""Bytes in the transport's buffer up to which answers are written to a socket that is behind."""


class Piece(bytes):
    """Whole messages, to be written at once."""

    messages: int
    """How many of a batch's messages have been written behind it."""

    @classmethod
    def of(cls, parts: list[bytes], messages: int) -> Self:
        """These, joined."""
        piece = cls(b"".join(parts))
        piece.messages = messages
        return piece


class Gone(Exception):
    """The socket is closed: there is nobody to write to any more."""


class Connection(Protocol):
    """What our server tells about the socket."""

    @property
    def open(self) -> bool:
        """Whether messages may still be written."""
        ...

    @property
    def writable(self) -> bool:
        """Whether a write would go out, or into the buffer, without waiting."""
        ...

    def write(self, data: bytes) -> bool:
        """Put whole frames on the socket; False, and nothing is written, where that would have to wait."""
        ...

    def insist(self, data: bytes, limit: int) -> bool:
        """The same up to ``limit`` bytes in the transport's buffer."""
        ...

    async def drained(self) -> None:
        """Return when the buffer is below its mark, or the connection is gone."""
        ...

    def unsent(self) -> int:
        """Bytes written and not yet acknowledged by the other side."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Say why, behind what is in the buffer; never waits."""
        ...


class Out(Protocol):
    """Where the messages of a socket go."""

    @property
    def shared(self) -> str:
        """Under which name sockets like this one share what :meth:`encode` makes."""
        ...

    @property
    def behind(self) -> bool:
        """Whether a write would have to wait."""
        ...

    def encode(self, messages: list[bytes]) -> list[Piece]:
        """Pieces for :meth:`write`, each of whole messages."""
        ...

    def push(self, pieces: list[Piece]) -> bool:
        """Write without waiting; False, and nothing is written, where that can't be done."""
        ...

    async def write(self, piece: bytes) -> None:
        """Write, and wait for room if need be. Raises :class:`api.wire.Stalled` and :class:`Gone`."""
        ...

    async def answer(self, message: bytes) -> None:
        """Write a message of the socket itself: past what waits, as long as there is room for it."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close; the other side is given time to answer."""
        ...


class DirectOut:
    """On our own server: bytes go to the transport as they are, made once for all sockets."""

    shared = "ws"

    def __init__(self, connection: Connection, send_timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = send_timeout_s

    @property
    def behind(self) -> bool:
        """See :class:`Out`."""
        return not self._connection.writable

    def encode(self, messages: list[bytes]) -> list[Piece]:
        """See :class:`Out`."""
        pieces: list[Piece] = []
        pending: list[bytes] = []
        size = 0
        for number, message in enumerate(messages, 1):
            framed = frame(message)
            pending.append(framed)
            size += len(framed)
            if size >= WRITE_LIMIT or number == len(messages):
                pieces.append(Piece.of(pending, number))
                pending.clear()
                size = 0
        return pieces

    def push(self, pieces: list[Piece]) -> bool:
        """See :class:`Out`."""
        return self._connection.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    async def write(self, piece: bytes) -> None:
        """See :class:`Out`."""
        connection = self._connection
        while not connection.write(piece):
            if not connection.open:
                raise Gone
            await guarded(connection.drained, connection.unsent, self._timeout_s)

    async def answer(self, message: bytes) -> None:
        """See :class:`Out`."""
        data = frame(message)
        if not self._connection.insist(data, INSIST_LIMIT):
            await self.write(data)

    async def close(self, code: int, reason: str) -> None:
        """See :class:`Out`."""
        self._connection.close(code, reason)


class PlainOut:
    """On a server of another make, or without the fast path: ASGI's own messages."""

    shared = "ws messages"
    behind = False

    def __init__(self, send: Send, send_timeout_s: float) -> None:
        self._send = send
        self._timeout_s = send_timeout_s

    def encode(self, messages: list[bytes]) -> list[Piece]:
        """See :class:`Out`."""
        return [Piece.of([message], number) for number, message in enumerate(messages, 1)]

    def push(self, pieces: list[Piece]) -> bool:
        """See :class:`Out`."""
        del pieces
        return False

    async def write(self, piece: bytes) -> None:
        """See :class:`Out`."""
        message = {"type": "websocket.send", "text": piece.decode()}
        try:
            await guarded(lambda: self._send(message), int, self._timeout_s)
        except OSError:
            raise Gone from None

    async def answer(self, message: bytes) -> None:
        """See :class:`Out`."""
        await self.write(message)

    async def close(self, code: int, reason: str) -> None:
        """See :class:`Out`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
        except (OSError, RuntimeError):
            # The other side was faster, or takes nothing.
            return


def open_out(scope: Scope, send: Send, send_timeout_s: float, *, direct: bool) -> Out:
    """The best way out that this server gives."""
    extensions: dict[str, Any] = scope.get("extensions") or {}
    connection: Connection | None = extensions.get(EXTENSION)
    if connection is None or not direct:
        return PlainOut(send, send_timeout_s)
    return DirectOut(connection, send_timeout_s)
