"""One HTTP connection: uvicorn's protocol on httptools, taught to break a body off and to be written to directly.

- A body that must not look complete ends without its last chunk (HTTP/1.1) or with a TCP reset (HTTP/1.0, where any
  orderly close is a clean end). Contract section 4; wires.md R5.
- A stream may live for hours, and there are thousands of them: what it does not need goes, or is never made.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import socket
import struct
import termios
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from api.wire import EXTENSION

HEAD_LIMIT = 64 * 1024
"""Bytes a request's line and headers may have together."""

_RESET = struct.pack("ii", 1, 0)

_SET = asyncio.Event()
"""Stands for all events that are set: one of its own for each connection would take most of a kilobyte."""
_SET.set()


_KEPT = frozenset({"type", "method", "http_version"})
"""Of a request, what the response still needs once it has begun."""


class _Flow(FlowControl):
    """uvicorn's, with an event only once somebody may have to wait."""

    def __init__(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportMissingSuperCall]
        self._transport = transport
        self.read_paused = False
        self.write_paused = False
        self._is_writable_event = _SET

    def pause_writing(self) -> None:
        """The buffer is full."""
        if not self.write_paused:
            self._is_writable_event = asyncio.Event()
        super().pause_writing()


class _Pipeline(list[Any]):
    """Requests that wait for the one before: nearly always none, for which a deque would take a lot of room."""

    def appendleft(self, item: Any) -> None:
        """The last to come is the last to go."""
        self.insert(0, item)


class HTTPConnection:
    """One request's hold on its connection: ``api.wire.Connection`` for this server."""

    __slots__ = ("_cycle", "_protocol", "stream")

    def __init__(self, protocol: HTTPProtocol, cycle: RequestResponseCycle) -> None:
        self._protocol = protocol
        self._cycle = cycle
        self.stream: ASGIApp | None = None

    @property
    def writable(self) -> bool:
        """Whether the transport's buffer is below its mark."""
        return not self._protocol.flow.write_paused

    @property
    def chunked(self) -> bool:
        """As uvicorn has decided when it sent the headers."""
        return bool(self._cycle.chunked_encoding)

    def write(self, data: bytes) -> bool:
        """Past uvicorn, whose ``send`` costs more than the write itself; only between whole messages of that."""
        if self._protocol.flow.write_paused or self._cycle.disconnected:
            return False
        try:
            self._protocol.transport.write(data)
        except RuntimeError:
            # uvloop, about a transport that was closed a moment ago.
            return False
        return True

    def watch(self, lost: Callable[[], None]) -> None:
        """Ask the protocol, which hears of it first."""
        if self._cycle.disconnected:
            lost()
            return
        self._protocol.lost = lost
        # Nobody will ask for the request's head or body any more.
        scope: dict[str, Any] = self._cycle.scope  # pyright: ignore[reportAssignmentType]
        for key in [key for key in scope if key not in _KEPT]:
            del scope[key]
        self._protocol.url = b""
        self._protocol.headers = []
        self._cycle.message_event = _SET
        # uvicorn may have stopped reading for the sake of a large body, and would not hear of the end.
        self._protocol.flow.resume_reading()

    def unsent(self) -> int:
        """Bytes in the transport's buffer and, where the kernel tells, in the socket's."""
        transport = self._protocol.transport
        return transport.get_write_buffer_size() + in_kernel(transport)

    def break_off(self, *, now: bool) -> None:
        """Close without the last chunk; reset when there are no chunks or when nothing should be waited for."""
        # The cycle must not take the missing end for a mistake of the app and log it.
        self._cycle.disconnected = True
        transport = self._protocol.transport
        if transport.is_closing():
            return
        if now or self._cycle.scope["http_version"] == "1.0":
            reset(transport)
        else:
            transport.close()


class HTTPProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with the connection in the scope, honest HTTP/1.0 framing and bounded request heads.

    ``node`` = the value of ``X-Rejoinder-Node`` in answers that never reach the app.
    """

    # With these among its other attributes an instance would be too large to share its keys with the others.
    __slots__ = ("_head_bytes", "_node", "lost")

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        node: bytes = b"",
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.pipeline: Any = _Pipeline()
        self._node = node
        self._head_bytes = 0
        self.lost: Callable[[], None] | None = None
        """Who wants to know that the connection has gone: one request's response at a time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Begin."""
        super().connection_made(transport)
        self.flow = _Flow(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who streams on it, too."""
        super().connection_lost(exc)
        lost, self.lost = self.lost, None
        if lost is not None:
            lost()

    def on_response_complete(self) -> None:
        """The response is whole: what becomes of the connection is not its business any more."""
        self.lost = None
        super().on_response_complete()

    def on_message_begin(self) -> None:
        """A new request: count its head anew."""
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Part of the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_LIMIT:
            raise ValueError("the request head is too large")

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        scope: dict[str, Any] = cycle.scope  # pyright: ignore[reportAssignmentType]
        connection = HTTPConnection(self, cycle)
        scope["extensions"] = {EXTENSION: connection}
        app = _serving(app, connection)
        # HTTP/1.0 knows no chunks (RFC 9112, 6.1): its body ends with the connection.
        super()._start_asgi_task(cycle, _unchunked(app, cycle) if scope["http_version"] == "1.0" else app)  # pyright: ignore[reportArgumentType]

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP with a problem, like everything else."""
        status = 431 if self._head_bytes > HEAD_LIMIT else 400
        title = "Request Header Fields Too Large" if status == 431 else "Bad Request"
        problem = {"type": "about:blank", "title": title, "status": status, "detail": msg, "code": "bad_request"}
        body = json.dumps(problem).encode()
        head = f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\ncontent-length: {len(body)}\r\n"
        pairs = [*self.server_state.default_headers, (b"x-rejoinder-node", self._node)]
        headers = b"".join(b"%s: %s\r\n" % pair for pair in pairs)
        self.transport.write(head.encode() + headers + b"connection: close\r\n\r\n" + body)
        self.transport.close()


def _serving(app: ASGIApp, connection: HTTPConnection) -> ASGIApp:
    """``app``, and behind it the stream it left with the connection: for hours, without the layers of the app."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)
        stream, connection.stream = connection.stream, None
        if stream is not None:
            await stream(scope, receive, send)

    return serve


def _unchunked(app: ASGIApp, cycle: RequestResponseCycle) -> ASGIApp:
    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        framed = True

        async def send_bare(message: Message) -> None:
            nonlocal framed
            if message["type"] == "http.response.start":
                framed = any(name.lower() == b"content-length" for name, _ in message["headers"])
                if not framed:
                    cycle.chunked_encoding = False
            elif not framed:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, send_bare)

    return serve


def reset(transport: asyncio.Transport) -> None:
    """Close with a TCP reset, and forget what is in the buffers."""
    with contextlib.suppress(OSError):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


def in_kernel(transport: asyncio.Transport) -> int:
    """Bytes in the socket's send buffer that the other side has not acknowledged."""
    sock = transport.get_extra_info("socket")
    try:
        return struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
    except (OSError, ValueError):
        # Closed already, by the other side's reset.
        return 0
