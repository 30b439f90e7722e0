"""The outermost layer of a node, round FastAPI: what holds for every request, whichever route it goes to.

A stream's body is served from here, too. The route only checks the request and hands an :class:`EventStream` over, so
that while a stream lives, possibly for hours, the layers of the framework under it are gone.
"""

from __future__ import annotations

import logging
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import errors, ws
from api.auth import LoopbackGuard
from api.cors import Cors, is_preflight
from api.handover import HANDED_OVER
from api.limits import Body
from api.node import Node, node_name
from api.shortcut import shortcut
from api.stream_response import EventStream
from api.wire import EXTENSION, BrokenOff, Connection
from api.wire import Headers as RawHeaders
from broker.errors import RejoinderError

log = logging.getLogger(__name__)


class Edge:
    """An ASGI app round ``inner``."""

    def __init__(self, inner: ASGIApp, node: Node, guard: LoopbackGuard | None) -> None:
        self._inner = inner
        self._node = node
        self._guard = guard
        self._name = node_name(node.settings)
        self._cors = Cors(node.settings.cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or one WebSocket; the lifespan passes through."""
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
            return
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        stream = await self._request(scope, receive, send)
        if stream is None:
            return
        extensions: dict[str, Any] = scope.get("extensions") or {}
        connection: Connection | None = extensions.get(EXTENSION)
        if connection is not None:
            connection.stream = stream
        else:
            await stream(scope, receive, send)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        extra: RawHeaders = [(b"x-rejoinder-node", self._name)]
        try:
            if self._guard is not None:
                # An Origin names the page's scheme, never that of the socket.
                self._guard.check(headers, "https" if scope["scheme"] == "wss" else "http")
            await ws.serve(self._node, scope, receive, send, extra)
        except RejoinderError as error:
            answer = errors.problem(error)
            answer.raw_headers += extra
            await answer(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> EventStream | None:
        headers = Headers(scope=scope)
        extra = self._extra(headers)

        async def send_with_extra(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        body = Body(receive, send_with_extra, self._node.settings.max_body_bytes)
        handed: list[EventStream] = []
        # The framework works on a copy, so that what it leaves in the scope goes when it goes.
        await self._guarded({**scope, HANDED_OVER: handed}, headers, body)
        if not handed:
            return None
        handed[0].add_headers(extra)
        return handed.pop()

    async def _guarded(self, scope: Scope, headers: Headers, body: Body) -> None:
        try:
            await self._answer(scope, headers, body)
        except BrokenOff:
            raise
        except RejoinderError as error:
            await errors.problem(error, scope["path"])(scope, body.receive, body.send)
        except Exception:
            log.exception("a request broke on an error nobody expected")
            if not body.started:
                await errors.internal(scope["path"])(scope, body.receive, body.send)
            elif not body.ended:
                raise

    async def _answer(self, scope: Scope, headers: Headers, body: Body) -> None:
        if self._guard is not None:
            self._guard.check(headers, scope["scheme"])
        if self._node.settings.cors_origins and is_preflight(scope["method"], headers):
            await self._cors.preflight(headers)(scope, body.receive, body.send)
            return
        body.check(headers)
        short = await shortcut(self._node, scope, headers)
        await (short or self._inner)(scope, body.receive, body.send)

    def _extra(self, headers: Headers) -> RawHeaders:
        extra = [(b"x-rejoinder-node", self._name), *self._cors.headers(headers)]
        if self._node.drain.begun.is_set():
            extra.append((b"connection", b"close"))
        return extra
