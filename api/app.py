"""The ASGI app of one API node."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from api import (
    compat_chat,
    compat_messages,
    compat_responses,
    compat_ui,
    generations,
    health,
    models,
    openapi,
    pages,
    streams,
    ws,
)
from api.auth import Keyring, LoopbackGuard, check_bind
from api.door import Door
from api.edge import Edge
from api.errors import HANDLERS
from api.limits import SubmitLimit
from api.node import Node
from broker.client import Broker
from broker.routing import Router
from broker.settings import Settings

_DESCRIPTION = "Durable LLM streams: every token is an entry of a log, and every reader can come back to where it was."


class Api(FastAPI):
    """FastAPI with :class:`api.edge.Edge` round it."""

    def __init__(self, node: Node, guard: LoopbackGuard | None, broker: Door | None) -> None:
        super().__init__(
            title="Rejoinder",
            description=_DESCRIPTION,
            version="1",
            lifespan=_lifespan(node, broker),
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            exception_handlers=HANDLERS,
        )
        self.state.node = node
        self._edge = Edge(super().__call__, node, guard)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        await self._edge(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, with what FastAPI can't see by itself."""
        if self.openapi_schema is None:
            self.openapi_schema = openapi.complete(super().openapi())
        return self.openapi_schema


def create_app(
    settings: Settings, *, broker: Door | None = None, host: str = "127.0.0.1", insecure: bool = False
) -> Api:
    """Build a node's app; its broker is opened and closed by the app's lifespan.

    Args:
        settings: all settings.
        broker: one that the caller opens and closes itself.
        host: the address the app will listen on; without API keys it must be a loopback address.
        insecure: serve without keys wherever it is, and check neither Host nor Origin.

    Raises:
        InsecureBind: for an open node off loopback.
    """
    keyring = Keyring(settings.api_keys)
    check_bind(host, keyring, insecure=insecure)
    node = Node(
        settings=settings,
        models=Router(settings),
        keyring=keyring,
        submit_limit=SubmitLimit(settings.rate_limit),
    )
    guard = LoopbackGuard(settings.cors_origins) if keyring.open and not insecure else None
    app = Api(node, guard, broker)
    for part in (
        generations,
        streams,
        ws,
        compat_chat,
        compat_responses,
        compat_messages,
        compat_ui,
        models,
        health,
        pages,
    ):
        app.include_router(part.router)
    return app


def _lifespan(node: Node, broker: Door | None) -> Any:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
        if broker is not None:
            node.door = broker
            yield
        else:
            async with Broker(node.settings) as opened:
                node.door = opened
                yield
        node.door = None

    return lifespan
