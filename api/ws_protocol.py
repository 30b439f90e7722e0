"""One WebSocket connection: uvicorn's protocol, taught to be written to directly, to stay bounded and to leave.

- A socket that reads nothing must not make the node keep answers to its pings.
- Whoever is refused in the middle of a message must have time to read why.
- On SIGTERM the app closes its sockets itself, each at a moment of its own (:mod:`api.drain`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from uvicorn import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.exceptions import InvalidState
from websockets.frames import CloseCode
from websockets.server import ServerProtocol

from api.limits import LINGER_S
from api.protocol import in_kernel, reset
from api.wire import EXTENSION
from api.ws_frames import Close

_log = logging.getLogger("api.ws.connection")
# uvicorn says every handshake, with its query, at info.
_log.setLevel(logging.WARNING)

HANDSHAKE_S = 5.0
"""How long the other side may take to answer a close."""

_OURS: dict[int, int] = {CloseCode.MESSAGE_TOO_BIG: Close.TOO_LARGE, CloseCode.INVALID_DATA: Close.BAD_MESSAGE}
"""What the library finds wrong and we have a code for."""


class _Core(ServerProtocol):
    """The library's, with our close codes."""

    def fail(self, code: int, reason: str = "") -> None:
        """Close because of what was received."""
        super().fail(_OURS.get(code, code), reason)

    def send_close(self, code: int | None = None, reason: str = "") -> None:
        """Close."""
        super().send_close(code if code is None else _OURS.get(code, code), reason)


class WSConnection:
    """The app's hold on a socket: ``api.ws_wire.Connection`` for this server."""

    __slots__ = ("_protocol",)

    def __init__(self, protocol: WSProtocol) -> None:
        self._protocol = protocol

    @property
    def writable(self) -> bool:
        """Whether the transport's buffer is below its mark."""
        return self._protocol.writable.is_set()

    @property
    def open(self) -> bool:
        """Whether messages may be written."""
        protocol = self._protocol
        return not (protocol.close_sent or protocol.disconnected or protocol.transport.is_closing())

    def write(self, data: bytes) -> bool:
        """Put whole frames on the socket; False, and nothing is written, where that would have to wait."""
        return self.writable and self._put(data)

    def insist(self, data: bytes, limit: int) -> bool:
        """The same up to ``limit`` bytes in the transport's buffer."""
        return self.buffered() + len(data) <= limit and self._put(data)

    def _put(self, data: bytes) -> bool:
        if not self.open:
            return False
        try:
            self._protocol.transport.write(data)
        except RuntimeError:
            # uvloop, about a transport that was closed a moment ago.
            return False
        return True

    async def drained(self) -> None:
        """Return when the buffer is below its mark, or the connection is gone."""
        await self._protocol.writable.wait()

    def buffered(self) -> int:
        """Bytes in the transport's buffer."""
        return self._protocol.transport.get_write_buffer_size()

    def unsent(self) -> int:
        """Bytes written and not yet acknowledged by the other side."""
        return self.buffered() + in_kernel(self._protocol.transport)

    def close(self, code: int, reason: str) -> None:
        """Say why, behind what is in the buffer; whoever does not answer in time is reset."""
        self._protocol.leave(code, reason)


class WSProtocol(WebSocketsSansIOProtocol):
    """uvicorn's protocol with the connection in the scope."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = _log
        self.conn = _Core(max_size=config.ws_max_size, logger=_log)
        self.app = _connected(self.app, self)
        self._deaf = False
        self._left = 0
        """Bytes not taken yet when the last ping was sent, or last looked for."""

    def leave(self, code: int, reason: str) -> None:
        """Close, whether or not the other side reads; once."""
        self.stop_keepalive()
        if self.close_sent or self.disconnected or self.transport.is_closing():
            return
        with contextlib.suppress(InvalidState):
            self.conn.send_close(code, reason)
            self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self._resume()
        self.close_timer = self.loop.call_later(HANDSHAKE_S, reset, self.transport)

    def shutdown(self) -> None:
        """The server leaves; the app is told by the drain, and closes with a code that says so."""
        if not self.handshake_complete:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        """What comes behind a refusal is thrown away."""
        if not self._deaf:
            super().data_received(data)

    def handle_parser_exception(self) -> None:
        """The message can't be taken: say so, and let the sender finish, or it would see a reset instead."""
        self._deaf = True
        said = self.conn.close_sent
        if said is None:
            raise RuntimeError("the parser says why it gave up")
        self.queue.put_nowait({"type": "websocket.disconnect", "code": said.code, "reason": said.reason})
        # uvicorn's own would close the transport here, and with it what the other side has not read yet.
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.stop_keepalive()
        self._resume()
        self.close_timer = self.loop.call_later(LINGER_S, self.transport.close)

    def handle_ping(self) -> None:
        """Answer, unless the answer would have to wait: RFC 6455 lets us answer the latest ping only."""
        answer = b"".join(self.conn.data_to_send())
        if self.writable.is_set():
            self.transport.write(answer)

    def send_keepalive_ping(self) -> None:
        """Ask whether anybody is there."""
        super().send_keepalive_ping()
        self._left = self.transport.get_write_buffer_size() + in_kernel(self.transport)

    def keepalive_timeout(self) -> None:
        """The other side has not answered a ping: behind a lot of data it may still be on its way."""
        self.pong_timer = None
        left = self.transport.get_write_buffer_size() + in_kernel(self.transport)
        if left < self._left:
            self._left = left
            self.pong_timer = self.loop.call_later(self.ping_timeout or 0, self.keepalive_timeout)
            return
        self.queue.put_nowait({"type": "websocket.disconnect", "code": Close.STALLED, "reason": "stalled"})
        self.leave(Close.STALLED, "stalled")

    def _resume(self) -> None:
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()


def _connected(app: Callable[..., Any], protocol: WSProtocol) -> Any:
    async def serve(scope: Any, receive: Any, send: Any) -> None:
        scope["extensions"][EXTENSION] = WSConnection(protocol)
        await app(scope, receive, send)

    return serve
