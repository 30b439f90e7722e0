"""A socket that does not read: what it costs the node, and in which order it is served when it goes on."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias

import pytest

from api.app import create_app
from api.main import server_config
from api.server import Server, listen
from api.ws_protocol import WSProtocol
from api.ws_wire import INSIST_LIMIT
from broker.channel import Subscription
from broker.client import Broker
from broker.tail_items import Batch
from tests.api.conftest import node_settings
from tests.api.socket_client import SocketClient, open_socket
from tests.broker.store import Store, Writer
from tests.integration.reading import read
from tests.support.history import Viewer, check
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

GENERATIONS = 8
PIECE = "x" * 4096
PIECES = 250


class Node:
    """A node on the real broker, in this event loop."""

    def __init__(self, app: Any, server: Server, port: int) -> None:
        self.metrics = app.state.node.metrics
        self.server = server
        self.port = port

    @property
    def buffered(self) -> int:
        """Bytes in its sockets' buffers."""
        sockets = [each for each in self.server.server_state.connections if isinstance(each, WSProtocol)]
        return sum(each.transport.get_write_buffer_size() for each in sockets)


StartNode = Callable[..., Awaitable[Node]]


@pytest.fixture
async def start_node(broker: Broker) -> AsyncIterator[StartNode]:
    """Starts nodes; they are stopped at the end."""
    async with AsyncExitStack() as stack:

        async def start(**values: Any) -> Node:
            app = create_app(node_settings(**values), broker=broker)
            sock = listen("127.0.0.1", 0)
            server = Server(server_config(app), app.state.node.drain, window_s=0.05)
            task = asyncio.get_running_loop().create_task(server.serve(sockets=[sock]))

            async def stop() -> None:
                server.stop()
                await task

            stack.push_async_callback(stop)
            await wait_until(lambda: server.started)
            return Node(app, server, sock.getsockname()[1])

        yield start


@pytest.fixture
async def node(start_node: StartNode) -> Node:
    """A running node."""
    return await start_node()


@asynccontextmanager
async def narrow(node: Node) -> AsyncGenerator[SocketClient]:
    """A client whose kernel keeps little."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", node.port))
    async with open_socket(node.port, sock=sock, host=None, max_queue=(1, 0)) as client:
        yield client


def pause(client: SocketClient) -> None:
    """Take nothing more from the socket."""
    client.connection.transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue]


def go_on(client: SocketClient) -> None:
    """Take from the socket again."""
    client.connection.transport.resume_reading()  # pyright: ignore[reportAttributeAccessIssue]


async def running(broker: Broker, count: int) -> dict[str, Writer]:
    """Generations that somebody writes."""
    store = Store.on(broker.redis, broker.settings)
    writers: dict[str, Writer] = {}
    for _ in range(count):
        generation = await store.submit()
        writers[generation] = await store.own(generation)
        await writers[generation].begin()
    return writers


async def subscribe_all(client: SocketClient, generations: list[str]) -> None:
    """Subscribe, and be at all the tails."""
    for generation in generations:
        await client.say("subscribe", id=generation)
    while sum("stream.live" in client.kinds(generation) for generation in generations) < len(generations):
        await client.hear()


Held: TypeAlias = Callable[[], list[Subscription | Batch]]


@pytest.fixture
def held() -> Iterator[Held]:
    """What readers have begun to keep of logs for later since the test began: notices, and pages."""

    def look() -> list[Subscription | Batch]:
        gc.collect()
        everything = gc.get_objects()
        noticed = [hints for hints in everything if type(hints) is Subscription and hints._held]  # pyright: ignore[reportPrivateUsage]
        pages = [batch for batch in everything if type(batch) is Batch and batch.entries]
        return [*noticed, *pages]

    # Other tests of this process may have left some; and a look at all that a test run has loaded takes half a second.
    gc.collect()
    gc.freeze()
    yield look
    gc.unfreeze()


async def test_a_socket_that_stops_holds_positions_only_and_is_then_served_in_turn(
    broker: Broker, node: Node, held: Held
) -> None:
    """Eight generations write a megabyte each; the node keeps 192 KiB for all of them; then all advance together."""
    writers = await running(broker, GENERATIONS)
    async with narrow(node) as client:
        await subscribe_all(client, list(writers))
        pause(client)
        most = 0
        for _ in range(PIECES):
            for writer in writers.values():
                await writer.say(PIECE)
            most = max(most, node.buffered)
        assert most > 0
        assert most <= INSIST_LIMIT + 64 * 1024
        # What has just been heard is let go of as soon as its reader is awake.
        await wait_until(lambda: len(held()) <= 1)
        for writer in writers.values():
            await writer.end()
        go_on(client)
        await client.until("generation.completed")
        slowest = min(client.events[generation][-1].position[1] for generation in writers)
        for _ in range(GENERATIONS - 1):
            await client.until("generation.completed")
    viewers = [client.viewer(generation) for generation in writers]
    assert check(viewers, await logs_of(broker, list(writers))) == []
    # A turn is up to four writes of 64 KiB, so two turns may lie between them; who only waits is at the tenth piece.
    assert slowest > PIECES // 4, f"one generation went on while others waited at {slowest}"


async def test_a_socket_that_is_behind_still_obeys(broker: Broker, node: Node) -> None:
    """Unsubscribe, cancel and ping are heard and answered while its generations wait; what is let go never comes."""
    writers = await running(broker, 3)
    one, other, third = writers
    async with narrow(node) as client:
        await subscribe_all(client, list(writers))
        pause(client)
        while node.buffered < 64 * 1024:
            await writers[one].say(PIECE)
        await client.say("unsubscribe", id=other)
        await client.say("cancel", id=third)
        await client.say("ping")
        await wait_until(lambda: node.metrics.viewers == 2)
        for text in "abc":
            await writers[other].say(text)
        await wait_until(lambda: _cancel_wanted(broker, third))
        await writers[one].end()
        go_on(client)
        await client.until("generation.completed")
    assert client.others == [{"type": "pong"}]
    assert "text.delta" not in client.kinds(other)
    assert check([client.viewer(one)], await logs_of(broker, [one])) == []


async def test_a_socket_that_takes_nothing_is_let_go_of(broker: Broker, start_node: StartNode) -> None:
    """4002, behind what it has not read; its subscriptions are over at once."""
    node = await start_node(send_timeout_s=0.2)
    writers = await running(broker, 2)
    async with narrow(node) as client:
        await subscribe_all(client, list(writers))
        pause(client)
        while node.metrics.sockets:
            for writer in writers.values():
                await writer.say(PIECE)
        assert node.metrics.viewers == 0
        go_on(client)
        assert await client.closed() == (4002, "stalled")
    assert node.metrics.broken == {"stalled": 1}


async def _cancel_wanted(broker: Broker, generation: str) -> bool:
    return bool(await broker.redis.hget(broker.keys.job(generation), "cancel"))


async def logs_of(broker: Broker, generations: list[str]) -> dict[str, Any]:
    """Each generation's whole log."""
    logs: dict[str, Any] = {}
    for generation in generations:
        viewer: Viewer = await read(broker, generation)
        logs[generation] = [seen for seen in viewer.seen if seen.id]
    return logs
