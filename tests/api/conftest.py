"""A node on a broker in memory: as an ASGI app, and behind a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import httpx2
import pytest

from api.app import Api, create_app
from api.main import server_config
from api.protocol import HTTPProtocol
from api.server import Server, listen
from broker.settings import Settings
from tests.api.fake_door import FakeDoor
from tests.support.waiting import wait_until

MakeClient = Callable[..., AbstractAsyncContextManager[httpx2.AsyncClient]]
BASE = "http://localhost"


@pytest.fixture
def door() -> FakeDoor:
    """The broker; the test is its worker."""
    return FakeDoor()


def node_settings(**values: Any) -> Settings:
    """Settings of a node under test; keywords override."""
    defaults: dict[str, Any] = {"node_name": "node-1", "heartbeat_s": 60, "api_keys": {}}
    return Settings(**{**defaults, **values})


@pytest.fixture
def make_client(door: FakeDoor) -> MakeClient:
    """Clients of nodes with the settings given."""

    @asynccontextmanager
    async def make(
        base_url: str = BASE, *, insecure: bool = False, **values: Any
    ) -> AsyncGenerator[httpx2.AsyncClient, None]:
        app = create_app(node_settings(**values), broker=door, insecure=insecure)
        async with app.router.lifespan_context(app):
            transport = httpx2.ASGITransport(app=app)
            async with httpx2.AsyncClient(transport=transport, base_url=base_url) as client:
                yield client

    return make


@pytest.fixture
async def client(make_client: MakeClient) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of an open node."""
    async with make_client() as made:
        yield made


class RunningNode:
    """A node behind a real socket, in this event loop."""

    def __init__(self, app: Api, server: Server, port: int, task: asyncio.Task[None]) -> None:
        self.app = app
        self.server = server
        self.port = port
        self.task = task

    @property
    def connection(self) -> HTTPProtocol:
        """The one connection that is open."""
        (connection,) = self.server.server_state.connections
        assert isinstance(connection, HTTPProtocol)
        return connection

    @property
    def metrics(self) -> Any:
        """What it counts."""
        return self.app.state.node.metrics


StartNode = Callable[..., Awaitable[RunningNode]]


@pytest.fixture
async def start_node(door: FakeDoor) -> AsyncIterator[StartNode]:
    """Starts nodes; they are stopped at the end."""
    async with AsyncExitStack() as stack:

        async def start(drain_delay_s: float = 0.0, window_s: float = 0.05, **values: Any) -> RunningNode:
            app = create_app(node_settings(**values), broker=door)
            sock = listen("127.0.0.1", 0)
            port = sock.getsockname()[1]
            drain = app.state.node.drain
            server = Server(server_config(app), drain, drain_delay_s=drain_delay_s, window_s=window_s)
            task = asyncio.get_running_loop().create_task(server.serve(sockets=[sock]))

            async def stop() -> None:
                server.stop()
                server.stop()
                await task

            stack.push_async_callback(stop)
            await wait_until(lambda: server.started)
            return RunningNode(app, server, port, task)

        yield start
