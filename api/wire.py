"""The writing end of one HTTP response: bounded, guarded by time, and able to break off.

Contract section 4: before its terminal event a body must never look complete. How that is done is the server's matter
(``api.server.Connection``); on a server of another make the only way is to raise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Protocol

from starlette.types import ASGIApp, Scope, Send

EXTENSION = "rejoinder.connection"
"""The key in ``scope["extensions"]`` under which our server hands the connection to the app."""

WRITE_LIMIT = 64 * 1024
"""Bytes after which frames go into a write of their own: with the transport's buffer, what one reader can cost."""

TAKEN_S = 5.0
"""How long the end of a stream may be on its way before it counts as not delivered."""
_ACKNOWLEDGED_S = 0.01
"""Between two looks at what is not acknowledged yet: the kernel tells nobody."""

Headers = list[tuple[bytes, bytes]]


class Connection(Protocol):
    """What our server tells about the connection under a request."""

    stream: ASGIApp | None
    """Left here, it is served when the app has returned."""

    @property
    def writable(self) -> bool:
        """Whether a write would go out, or into the buffer, without waiting."""
        ...

    @property
    def chunked(self) -> bool:
        """Whether the body, once its headers have been sent, consists of chunks (RFC 9112, 7.1)."""
        ...

    def write(self, data: bytes) -> bool:
        """Put bytes on the socket as they are; False, and nothing is written, where that would have to wait."""
        ...

    def watch(self, lost: Callable[[], None]) -> None:
        """Call ``lost`` when the other side has gone: at once, if it has."""
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


def joined(pieces: Iterable[bytes]) -> list[bytes]:
    """The same bytes in as few pieces as the limit allows, none of them torn."""
    whole: list[bytes] = []
    pending: list[bytes] = []
    size = 0
    for piece in pieces:
        pending.append(piece)
        size += len(piece)
        if size >= WRITE_LIMIT:
            whole.append(b"".join(pending))
            pending.clear()
            size = 0
    if pending:
        whole.append(b"".join(pending))
    return whole


def _never(_data: bytes) -> bool:
    return False


class Wire:
    """Writes one response. Not for two writers that must keep an order between them."""

    __slots__ = ("_send", "_timeout_s", "busy", "connection", "push")

    def __init__(self, scope: Scope, send: Send, send_timeout_s: float) -> None:
        extensions: MutableMapping[str, Any] = scope.get("extensions") or {}
        self.connection: Connection | None = extensions.get(EXTENSION)
        """None on a server of another make."""
        self.push: Callable[[bytes], bool] = self.connection.write if self.connection is not None else _never
        """Write what :meth:`frame` made, without waiting; False, and nothing is written, where that can't be done."""
        self._send = send
        self._timeout_s = send_timeout_s
        self.busy = False
        """Whether a write is waiting for the reader."""

    async def start(self, status: int, headers: Headers) -> None:
        """Send the status and the headers. Raises :class:`Stalled`: an answer before this one may not be taken yet."""
        await self._send_guarded({"type": "http.response.start", "status": status, "headers": headers})

    @property
    def framing(self) -> str:
        """What :meth:`frame` does here: bodies of connections that agree in this may share its results."""
        return "chunked" if self.connection is not None and self.connection.chunked else "bare"

    def frame(self, body: bytes) -> bytes:
        """These bytes of the body as they stand on the socket."""
        return b"%x\r\n%b\r\n" % (len(body), body) if self.framing == "chunked" else body

    async def write(self, body: bytes) -> None:
        """Write once. Raises :class:`Stalled` when the socket takes nothing for the send timeout."""
        await self._send_guarded({"type": "http.response.body", "body": body, "more_body": True})

    async def _send_guarded(self, message: dict[str, Any]) -> None:
        if self.connection is not None and self.connection.writable:
            await self._send(message)
            return
        self.busy = True
        try:
            await self._send_slowly(message)
        finally:
            self.busy = False

    async def taken(self) -> bool:
        """Whether the other side's machine, or a proxy's, acknowledges in time all that was written."""
        until = asyncio.get_running_loop().time() + TAKEN_S
        while self._unsent() > 0:
            if asyncio.get_running_loop().time() >= until:
                return False
            await asyncio.sleep(_ACKNOWLEDGED_S)
        return True

    async def end(self) -> None:
        """End the body cleanly."""
        await self._send_slowly({"type": "http.response.body", "body": b"", "more_body": False})

    def break_off(self, reason: str) -> None:
        """End the body so that nobody takes it for complete. Raises :class:`BrokenOff` on another make of server."""
        if self.connection is None:
            raise BrokenOff(reason)
        self.connection.break_off(now=reason == "stalled")

    async def _send_slowly(self, message: dict[str, Any]) -> None:
        await guarded(lambda: self._send(message), self._unsent, self._timeout_s)

    def _unsent(self) -> int:
        return self.connection.unsent() if self.connection is not None else 0


async def guarded(send: Callable[[], Awaitable[None]], unsent: Callable[[], int], timeout_s: float) -> None:
    """Send, however long it takes, as long as the other side takes anything. Raises :class:`Stalled`.

    ``send`` waits before it writes, so one that was cut short has written nothing; ``unsent`` = bytes not taken yet.
    """
    before = unsent()
    while True:
        try:
            async with asyncio.timeout(timeout_s):
                return await send()
        except TimeoutError:
            left = unsent()
            if left >= before:
                raise Stalled from None
            before = left
