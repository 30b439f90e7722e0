"""An outage of Redis must not be taken for an absence of viewers: design decisions 4 and 12."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from broker.client import Broker
from broker.errors import LogUnavailable
from broker.redis import connect, unavailable
from broker.scripts import Scripts
from rejoinder.embedded import EmbeddedServer
from tests.broker.test_hub import collect
from tests.conftest import MakeSettings, StartWorker
from tests.integration.reading import request
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
async def own_server() -> AsyncIterator[EmbeddedServer]:
    """A server that may be killed."""
    async with EmbeddedServer() as server:
        yield server


async def test_an_outage_does_not_cancel_what_is_watched(
    own_server: EmbeddedServer, make_settings: MakeSettings, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis is away for longer than the viewers' leases, renewed late: the viewer is still there."""
    monkeypatch.setattr("broker.hub.VIEWER_HOLD_MS", 600)
    monkeypatch.setattr("broker.hub.VIEWER_RENEW_S", 0.2)
    monkeypatch.setattr("worker.drive._WATCH_S", 0.05)
    settings = make_settings(redis_url=own_server.url, lease_s=20.0)
    looks = 0
    late = False
    watch = Scripts.watch

    async def slow(self: Scripts, generation: str, node: str = "", hold_ms: int | None = None) -> tuple[int, int]:
        nonlocal looks
        if late and hold_ms:
            await wait_until(lambda: looks >= 2 or reading.done())
        answer = await watch(self, generation, node, hold_ms)
        looks += late and not node
        return answer

    monkeypatch.setattr(Scripts, "watch", slow)
    await start_worker(settings)
    async with Broker(settings) as broker:
        generation = (await broker.submit(request(60, 20, on_disconnect={"cancel_after_s": 0.3}))).record.id
        got: list[str] = []
        reading = asyncio.ensure_future(collect(broker, generation, got))
        await wait_until(lambda: len(got) > 5)
        await asyncio.to_thread(own_server.kill)
        late = True
        gone = asyncio.get_running_loop().time()
        await wait_until(lambda: asyncio.get_running_loop().time() > gone + 1.5)
        await own_server.start_async()
        await asyncio.wait_for(reading, 20)
        assert (await broker.get(generation)).status == "completed"
        assert looks >= 2


async def test_a_look_that_hung_judges_nobody(
    own_server: EmbeddedServer, make_settings: MakeSettings, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that stood still lets leases lapse without an error: the first look after it says nothing."""
    monkeypatch.setattr("worker.drive._WATCH_S", 0.05)
    monkeypatch.setattr("worker.drive._SLOW_LOOK_S", 0.05)
    clock = asyncio.get_running_loop().time
    watch = Scripts.watch
    hung = False

    async def slow(self: Scripts, generation: str, node: str = "", hold_ms: int | None = None) -> tuple[int, int]:
        nonlocal hung
        if node or hung:
            return await watch(self, generation, node, hold_ms)
        hung = True
        until = clock() + 0.2
        await wait_until(lambda: clock() > until)
        return 60_000, 300

    monkeypatch.setattr(Scripts, "watch", slow)
    settings = make_settings(redis_url=own_server.url)
    await start_worker(settings)
    async with Broker(settings) as broker:
        generation = (await broker.submit(request(60, 60, on_disconnect={"cancel_after_s": 0.3}))).record.id
        got: list[str] = []
        await asyncio.wait_for(collect(broker, generation, got), 20)
        assert hung
        assert (await broker.get(generation)).status == "completed"


async def test_a_hung_look_unsettles_the_sweeper_too(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits in the queue is judged by the sweeper: it must not take a standstill for an absence either."""
    monkeypatch.setattr("broker.sweeper.SLOW_S", 0.05)
    clock = asyncio.get_running_loop().time

    async def slow(self: Scripts, generation: str, node: str = "", hold_ms: int | None = None) -> tuple[int, int]:
        del self, generation, node, hold_ms
        until = clock() + 0.1
        await wait_until(lambda: clock() > until)
        return 60_000, 300

    async with Broker(make_settings()) as broker:
        generation = (await broker.submit(request(6, 60, on_disconnect={"cancel_after_s": 0.3}))).record.id
        monkeypatch.setattr(Scripts, "watch", slow)
        await broker.sweeper.sweep()
        assert (await broker.get(generation)).status == "queued"
        monkeypatch.setattr("broker.sweeper.SLOW_S", 60)
        monkeypatch.setattr(broker.sweeper, "_settled_at", 0.0)
        await broker.sweeper.sweep()
        assert (await broker.get(generation)).status == "cancelled"


async def test_a_transport_that_was_closed_under_us_is_an_outage(make_settings: MakeSettings) -> None:
    """Uvloop says RuntimeError where asyncio says nothing: a viewer's stream must not break on it."""
    redis = connect(make_settings().redis_url, size=1, retries=0)
    await redis.ping()
    connection = await redis.connection_pool.get_connection()

    async def closed(_command: object) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")

    connection._send_packed_command = closed
    with pytest.raises(LogUnavailable), unavailable():
        await connection.send_command("PING")
    await connection.disconnect()
    await redis.aclose()
