"""Live entries may travel three ways (``REJOINDER_LIVE``): what arrives is the same."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast
from unittest.mock import patch

import pytest

from api.app import create_app
from api.main import server_config
from api.server import Server, listen
from api.stream_response import EventStream
from broker.client import Broker
from broker.settings import Settings
from broker.tail_items import Batch
from tests.api.raw import RawClient
from tests.broker.store import Store, Writer
from tests.conftest import MakeSettings
from tests.support.waiting import wait_until
from tests.support.whatwg import EventSourceParser

pytestmark = pytest.mark.integration

WAYS = ["direct", "plain", "poll"]
WORD = "x" * 500


class Stage:
    """A node on its own broker, and a log whose writer is the test."""

    def __init__(self, stack: AsyncExitStack, port: int, broker: Broker, store: Store, writer: Writer) -> None:
        self._stack = stack
        self.port = port
        self.broker = broker
        self.store = store
        self.writer = writer

    async def reader(self, **how: Any) -> RawClient:
        """Somebody who has come as far as the tail."""
        client = await self._stack.enter_async_context(RawClient(self.port, **how))
        assert await client.get(f"/v1/generations/{self.writer.generation}/events?replay=exact") == 200
        await client.read_until(b"stream.live")
        return client

    async def places(self) -> list[str]:
        """The ids in the log."""
        return [place for place, _ in await self.store.rows(self.writer.generation)]


@asynccontextmanager
async def stage(settings: Settings) -> AsyncGenerator[Stage]:
    """On a real socket and a real server."""
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(Broker(settings))
        app = create_app(settings, broker=broker)
        sock = listen("127.0.0.1", 0)
        server = Server(server_config(app), app.state.node.drain, window_s=0.01)
        serving = asyncio.get_running_loop().create_task(server.serve(sockets=[sock]))

        async def stop() -> None:
            server.stop()
            server.stop()
            await serving

        stack.push_async_callback(stop)
        store = Store.on(broker.redis, settings)
        writer = await store.own(await store.submit())
        await writer.begin()
        await wait_until(lambda: server.started)
        yield Stage(stack, sock.getsockname()[1], broker, store, writer)


@pytest.fixture(params=WAYS)
async def way(request: pytest.FixtureRequest, make_settings: MakeSettings) -> AsyncIterator[Stage]:
    """One stage for each way."""
    async with stage(make_settings(lease_s=30, live=request.param)) as made:
        yield made


def ids(client: RawClient) -> list[str]:
    """The ids of the events that came, by the book."""
    parser = EventSourceParser()
    return [event.last_event_id for event in parser.feed(client.body) if not event.type.startswith("stream.")]


async def test_every_way_brings_every_entry_once(way: Stage) -> None:
    """Two readers from the start to the end, with a killed subscription in between; the later one joins the first."""
    clients = [await way.reader()]
    for n in range(40):
        await way.writer.say(f"{n} ")
        if n == 10:
            clients.append(await way.reader())
        if n in (5, 25):
            await cast("Any", way.broker.redis).execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await way.writer.end("the ", "end")
    for client in clients:
        assert await client.read_all() == "last chunk"
    places = await way.places()
    assert [ids(client) for client in clients] == [places, places]


async def test_a_reader_that_does_not_keep_up_pages_the_log_and_the_others_do_not_wait(way: Stage) -> None:
    """It takes nothing while two megabytes go by, and then has them all the same."""
    slow = await way.reader(receive_buffer=4096)
    quick = await way.reader()
    slow.pause()
    taken = asyncio.ensure_future(quick.read_until(b"generation.completed"))
    for _ in range(20):
        await way.writer.say(*[WORD] * 200)
    await way.writer.end()
    await taken
    assert ids(quick) == await way.places()
    slow.go_on()
    assert await slow.read_all() == "last chunk"
    assert ids(slow) == await way.places()


async def test_readers_of_the_tail_are_written_to_without_a_wake_of_their_tasks(make_settings: MakeSettings) -> None:
    """The direct way: each live entry is handed over once for each reader, and encoded once for all of them."""
    handed: list[Batch] = []
    take = EventStream.take

    def noted(self: EventStream, batch: Batch) -> bool:
        handed.append(batch)
        return take(self, batch)

    async with stage(make_settings(lease_s=30, live="direct")) as here:
        clients = [await here.reader() for _ in range(3)]
        with patch.object(EventStream, "take", noted):
            for n in range(5):
                await here.writer.say(str(n))
                place = (await here.places())[-1].encode()
                await asyncio.gather(*(client.read_until(b"id: " + place + b"\n") for client in clients))
        assert len(handed) == 3 * 5
        batches = [list(group) for _, group in itertools.groupby(handed, key=id)]
        assert [len(group) for group in batches] == [3] * 5
        assert all(len(group[0].encoded) == 1 for group in batches)


async def test_without_notices_nobody_subscribes(make_settings: MakeSettings) -> None:
    """The switch is a real one."""
    async with stage(make_settings(lease_s=30, live="poll")) as here:
        client = await here.reader()
        name = here.broker.keys.channel(here.writer.generation)
        assert (await here.store.raw.pubsub_numsub(name))[0][1] == 0
        await here.writer.end("a")
        assert await client.read_all() == "last chunk"
        assert ids(client) == await here.places()
