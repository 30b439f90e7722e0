"""The writing end of one HTTP response: bounded, guarded by time, and able to break off.

Contract section 4: before its terminal event a body must never look complete. How that is done is the server's matter
(``api.server.Connection``); on a server of another make the only way is to raise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, MutableMapping
from typing import Any, Protocol

from starlette.types import Scope, Send

EXTENSION = "rejoinder.connection"
"""The key in ``scope["extensions"]`` under which our server hands the connection to the app."""

WRITE_LIMIT = 64 * 1024
"""Bytes after which frames go into a write of their own: with the transport's buffer, what one reader can cost."""

Headers = list[tuple[bytes, bytes]]


class Connection(Protocol):
    """What our server tells about the connection under a request."""

    @property
    def writable(self) -> bool:
        """Whether a write would go out, or into the buffer, without waiting."""
        ...

    def unsent(self) -> int:
        """Bytes written and not yet acknowledged by the other side."""
        ...

    def break_off(self, *, now: bool) -> None:
        """End the body so that nobody takes it for complete; ``now`` = give up what is still in the buffers too."""
        ...


class BrokenOff(Exception):
    """The stream ended before its end: raised to a server that has no other way to break a body off."""


class Stalled(Exception):
    """The socket has taken nothing for the whole send timeout."""


class Wire:
    """Writes one response. Not for two writers that must keep an order between them."""

    def __init__(self, scope: Scope, send: Send, send_timeout_s: float) -> None:
        extensions: MutableMapping[str, Any] = scope.get("extensions") or {}
        self._connection: Connection | None = extensions.get(EXTENSION)
        self._send = send
        self._timeout_s = send_timeout_s
        self.busy = False
        """Whether a write is waiting for the reader."""

    async def start(self, status: int, headers: Headers) -> None:
        """Send the status and the headers. Raises :class:`Stalled`: an answer before this one may not be taken yet."""
        await self._send_slowly({"type": "http.response.start", "status": status, "headers": headers})

    async def write_all(self, pieces: Iterable[bytes]) -> None:
        """Write pieces in as few writes as the limit allows, none of them torn. Raises :class:`Stalled`."""
        pending: list[bytes] = []
        size = 0
        for piece in pieces:
            pending.append(piece)
            size += len(piece)
            if size >= WRITE_LIMIT:
                await self.write(b"".join(pending))
                pending.clear()
                size = 0
        if pending:
            await self.write(b"".join(pending))

    async def write(self, body: bytes) -> None:
        """Write once. Raises :class:`Stalled` when the socket takes nothing for the send timeout."""
        message = {"type": "http.response.body", "body": body, "more_body": True}
        if self._connection is not None and self._connection.writable:
            await self._send(message)
            return
        self.busy = True
        try:
            await self._send_slowly(message)
        finally:
            self.busy = False

    async def end(self) -> None:
        """End the body cleanly."""
        await self._send_slowly({"type": "http.response.body", "body": b"", "more_body": False})

    def break_off(self, reason: str) -> None:
        """End the body so that nobody takes it for complete. Raises :class:`BrokenOff` on another make of server."""
        if self._connection is None:
            raise BrokenOff(reason)
        self._connection.break_off(now=reason == "stalled")

    async def _send_slowly(self, message: dict[str, Any]) -> None:
        unsent = self._unsent()
        while True:
            try:
                async with asyncio.timeout(self._timeout_s):
                    return await self._send(message)
            except TimeoutError:
                # Our server waits before it writes, so a send that was cut short has written nothing.
                left = self._unsent()
                if left >= unsent:
                    raise Stalled from None
                unsent = left

    def _unsent(self) -> int:
        return self._connection.unsent() if self._connection is not None else 0
