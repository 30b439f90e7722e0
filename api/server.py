"""The HTTP server under a node: uvicorn on httptools, taught to break a body off, to bound a reader, and to leave.

- A body that must not look complete ends without its last chunk (HTTP/1.1) or with a TCP reset (HTTP/1.0, where any
  orderly close is a clean end). Contract section 4; wires.md R5.
- Accepted sockets inherit a small send buffer and ``TCP_USER_TIMEOUT`` from the listener (design.md section 3).
- On SIGTERM uvicorn itself would wait forever for open streams; see :meth:`Server.shutdown`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import socket
import struct
import termios
from types import FrameType
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn import Config
from uvicorn import Server as UvicornServer
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from api.drain import WINDOW_S, Drain
from api.wire import EXTENSION

log = logging.getLogger(__name__)

SEND_BUFFER = 64 * 1024
"""Bytes the kernel keeps for a reader; without a limit a reader that stops absorbs 3.8 MB."""

USER_TIMEOUT_MS = 30_000
"""After this long without an acknowledgement the kernel gives the connection up, so that a phone that vanished stops
counting as a viewer."""

HEAD_LIMIT = 64 * 1024
"""Bytes a request's line and headers may have together."""

BACKLOG = 2048
GRACE_S = 5.0
"""How long requests that are no streams may take to finish once the listener is closed."""

FLUSH_S = 1.0
"""How long the last bytes of finished responses may take to leave the process's buffers."""
_TURN_S = 0.01

_RESET = struct.pack("ii", 1, 0)


class HTTPConnection:
    """One request's hold on its connection: ``api.wire.Connection`` for this server."""

    __slots__ = ("_cycle", "_protocol")

    def __init__(self, protocol: HttpToolsProtocol, cycle: RequestResponseCycle) -> None:
        self._protocol = protocol
        self._cycle = cycle

    @property
    def writable(self) -> bool:
        """Whether the transport's buffer is below its mark."""
        return not self._protocol.flow.write_paused

    def unsent(self) -> int:
        """Bytes in the transport's buffer and, where the kernel tells, in the socket's."""
        transport = self._protocol.transport
        return transport.get_write_buffer_size() + _in_kernel(transport)

    def break_off(self, *, now: bool) -> None:
        """Close without the last chunk; reset when there are no chunks or when nothing should be waited for."""
        # The cycle must not take the missing end for a mistake of the app and log it.
        self._cycle.disconnected = True
        transport = self._protocol.transport
        if transport.is_closing():
            return
        if now or self._cycle.scope["http_version"] == "1.0":
            _reset(transport)
        else:
            transport.close()


class HTTPProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with the connection in the scope, honest HTTP/1.0 framing and bounded request heads.

    ``node`` = the value of ``X-Rejoinder-Node`` in answers that never reach the app.
    """

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
        self._node = node
        self._head_bytes = 0

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
        scope["extensions"] = {EXTENSION: HTTPConnection(self, cycle)}
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


class Server(UvicornServer):
    """Serves until a signal or :meth:`stop`, then drains and returns."""

    def __init__(self, config: Config, drain: Drain, *, drain_delay_s: float = 0.0, window_s: float = WINDOW_S) -> None:
        super().__init__(config)
        self._drain = drain
        self._drain_delay_s = drain_delay_s
        self._window_s = window_s
        self._hurry = asyncio.Event()

    def stop(self) -> None:
        """Begin to leave, as on SIGTERM; said twice: without the drain delay."""
        if self.should_exit:
            self._hurry.set()
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Leave on a signal; uvicorn would raise it again at the end, and the exit code would not be 0."""
        del sig, frame
        self.stop()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Unready for the drain delay; then no new connections, streams broken off, the rest finished or cut."""
        log.info("leaving: unready for %g s, then closed", self._drain_delay_s)
        self._drain.begin()
        await _until(self._hurry, self._drain_delay_s)
        for server in self.servers:
            server.close()
        for sock in sockets or []:
            sock.close()
        self._drain.break_off(self._window_s)
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._finish()
        await self.lifespan.shutdown()

    async def _finish(self) -> None:
        """Let requests end and their last bytes go out; then cut whoever is left (it resumes elsewhere)."""
        state = self.server_state
        loop = asyncio.get_running_loop()
        until = loop.time() + self._window_s + GRACE_S
        while state.tasks and loop.time() < until:
            await asyncio.wait(state.tasks, timeout=until - loop.time())
        for task in list(state.tasks):
            task.cancel()
        until = loop.time() + FLUSH_S
        while state.connections and loop.time() < until:  # noqa: ASYNC110 - uvicorn tells nobody of a lost connection
            await asyncio.sleep(_TURN_S)
        for connection in list(state.connections):
            _reset(connection.transport)  # pyright: ignore[reportArgumentType]


def listen(host: str, port: int, fd: int | None = None) -> socket.socket:
    """The listening socket, with the limits that accepted sockets inherit. ``fd`` = one that is bound already.

    Raises ``OSError`` when the address can't be bound.
    """
    if fd is not None:
        sock = socket.socket(fileno=fd)
    else:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        sock = socket.create_server(address[:2], family=family, backlog=BACKLOG)  # pyright: ignore[reportArgumentType]
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    if sock.family in (socket.AF_INET, socket.AF_INET6) and hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
    return sock


async def _until(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _reset(transport: asyncio.Transport) -> None:
    with contextlib.suppress(OSError):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


def _in_kernel(transport: asyncio.Transport) -> int:
    sock = transport.get_extra_info("socket")
    try:
        return struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
    except (OSError, ValueError):
        # Closed already, by the other side's reset.
        return 0
