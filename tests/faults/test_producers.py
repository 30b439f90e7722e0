"""Workers that die at the worst points, providers that keep the line open, and a Redis that hangs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from importlib import import_module
from typing import Any, cast

import pytest

from broker.client import Broker
from broker.request import GenerationRequest
from broker.settings import Settings
from broker.tasks import end
from rejoinder.environment import inherited
from tests.broker.faulty import FaultyLog, open_writer
from tests.broker.store import Store
from tests.broker.test_writer import ENDING
from tests.conftest import MakeSettings, StartWorker
from tests.integration.reading import read, request
from tests.support.history import answer, check
from tests.support.waiting import START_S, wait_until
from worker.drive import Drive
from worker.providers.base import Call, Finish, ProviderItem
from worker.providers.demo import DemoProvider

pytestmark = pytest.mark.integration

TOKENS = 2000


async def crash(settings: Settings, point: str, **environ: str) -> int:
    """A worker process of its own that ends at this point; answers its exit code."""
    env = {
        **inherited(),
        **environ,
        "REJOINDER_REDIS_URL": settings.redis_url,
        "REJOINDER_KEY_PREFIX": settings.key_prefix,
        "REJOINDER_LEASE_S": str(settings.lease_s),
        "REJOINDER_WORKER_DRAIN_S": "0",
        "REJOINDER_LOG_LEVEL": "error",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.faults.crash", point, env=env)
    try:
        # It has to be loaded, and to wait for a lease of the one before it.
        await wait_until(lambda: process.returncode is not None, START_S)
        return await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize(
    ("point", "attempts"),
    [
        ("before the first token", 2),
        ("in a tool call", 2),
        ("behind the last token", 2),
        ("between the end and the queue", 1),
    ],
)
async def test_kill_9_at_this_point(
    point: str, attempts: int, make_settings: MakeSettings, start_worker: StartWorker
) -> None:
    """A real SIGKILL at exactly this point: the next worker ends the generation, once, and empties the queue."""
    settings = make_settings(lease_s=0.5)
    async with Broker(settings) as broker:
        made = await broker.submit(request(6, 100, options={"tool_call": True}))
        generation = made.record.id
        assert await crash(settings, point) == -9
        reading = asyncio.ensure_future(read(broker, generation))
        await start_worker(settings)
        viewer = await asyncio.wait_for(reading, 10)
        record = await broker.wait(generation, 10)
        assert check([viewer]) == []
        assert (record.status, record.attempt) == ("completed", attempts)
        assert record.output is not None
        assert [call.complete for call in record.output.tool_calls] == [True]
        assert record.output.text == answer(viewer.seen)

        async def queue_is_empty() -> bool:
            return await broker.queue_length() == 0

        await wait_until(queue_is_empty)


async def test_sigterm_is_not_worse_than_sigkill(make_settings: MakeSettings, start_worker: StartWorker) -> None:
    """A real SIGTERM in mid-answer: exit 0, and the rest is free at once, long before the lease is over."""
    settings = make_settings(lease_s=60.0)
    async with Broker(settings) as broker:
        # It would last for minutes: however slow the machine is, the signal comes in its middle.
        made = await broker.submit(request(40_000, 100))
        assert await crash(settings, "told to go") == 0
        await start_worker(settings)

        async def goes_on() -> bool:
            return (await broker.get(made.record.id)).attempt == 2

        await wait_until(goes_on)
        await broker.cancel(made.record.id)
        assert (await broker.wait(made.record.id, 10)).status == "cancelled"
        hash_ = await Store.on(broker.redis, settings).hash(made.record.id)
        assert hash_["losses"] == "0"


async def test_a_renewal_that_outlives_the_lease_revives_nobody(store: Store) -> None:
    """Its reply says yes and comes when another has taken over: the old owner can end nothing any more."""
    log = FaultyLog(store, await store.submit())
    writer = await open_writer(log)
    log.replies.clear()
    running = asyncio.get_running_loop().create_task(writer.run())

    async def sent() -> bool:
        return len(await store.rows(log.generation)) == 2

    await wait_until(sent)
    await store.lapse(log.generation)
    successor = await store.own(log.generation, "b")
    await successor.begin(2)
    log.replies.set()
    await end(running)
    assert await writer.end(ENDING) == "lost"
    assert (await store.records.get(log.generation)).status == "running"
    assert (await successor.end("mine")).kind == "ok"


class Counting(DemoProvider):
    """Says many tokens without a pause, and tells how many were taken from it."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = 0

    async def stream(self, call: Call) -> AsyncGenerator[ProviderItem, None]:
        """The demo's answer, counted."""
        async for item in super().stream(call):
            yield item
            self.taken += 1


async def test_the_provider_is_read_to_its_end_while_redis_says_nothing(broker: Broker) -> None:
    """No token waits for Redis: all of them are taken although not one append has been answered."""
    store = Store.on(broker.redis, broker.settings)
    log = FaultyLog(store, await store.submit())
    writer = await open_writer(log)
    log.replies.clear()
    running = asyncio.get_running_loop().create_task(writer.run())
    wanted = request(TOKENS, 0)
    provider = Counting()
    drive = Drive(broker, log.generation, writer, wanted, deadline_s=60)
    outcome = await asyncio.wait_for(drive.run(provider, Call(wanted, "demo-1")), 10)
    assert isinstance(outcome.finish, Finish)
    assert provider.taken > TOKENS
    assert len(log.appended) <= 1
    log.replies.set()
    await end(running)
    assert await writer.end(ENDING) == "ok"


class Chatty:
    """A server that keeps the line open for ever with what is no token, as fast as every 10 ms."""

    def __init__(self, noise: str) -> None:
        self._noise = noise.encode()
        self.sent = 0
        self.live = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One answer without an end."""
        self.live += 1
        gone = asyncio.ensure_future(reader.read(-1))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        while not gone.done():
            writer.write(b"%x\r\n%s\r\n" % (len(self._noise), self._noise))
            self.sent += 1
            await asyncio.wait([gone], timeout=0.01)
        self.live -= 1
        writer.close()


@pytest.fixture(params=[": keep-alive\n\n", 'data: {"id":"c","choices":[]}\n\n'], ids=["comments", "empty chunks"])
async def chatty(request: pytest.FixtureRequest) -> AsyncIterator[Chatty]:
    """Both kinds of noise."""
    made = Chatty(request.param)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = "http://{}:{}/v1".format(*server.sockets[0].getsockname())
    yield made
    server.close()


async def test_a_line_that_is_kept_open_is_still_a_stall(
    chatty: Chatty, make_settings: MakeSettings, start_worker: StartWorker
) -> None:
    """Noise resets no watchdog: the generation fails as stalled, and the provider's socket is closed."""
    # Otherwise the first use of the SDK, which takes longer than this stall, would be the stall.
    await asyncio.to_thread(import_module, "openai")
    key: dict[str, Any] = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": chatty.url}
    settings = make_settings(stall_s=0.6, max_retries=0, **key)
    await start_worker(settings)
    async with Broker(settings) as broker:
        made = await broker.submit(GenerationRequest(model="openai/gpt-x", input="x"))
        record = await broker.wait(made.record.id, 10)
        assert record.error is not None
        assert (record.status, record.error.code) == ("failed", "provider_stalled")
    assert chatty.sent > 5
    await wait_until(lambda: chatty.live == 0)


async def test_an_answer_without_an_end_is_ended(make_settings: MakeSettings, start_worker: StartWorker) -> None:
    """Past the limit the generation fails and says why: its log can't grow for as long as its deadline is away."""
    settings = make_settings(max_log_bytes=20_000)
    await start_worker(settings)
    async with Broker(settings) as broker:
        made = await broker.submit(request(100_000, 0, delivery={"batch": "none"}))
        viewer = await asyncio.wait_for(read(broker, made.record.id), 10)
        assert check([viewer]) == []
        assert viewer.seen[-1].event["error"]["code"] == "output_too_large"
        assert 15_000 < len(answer(viewer.seen).encode()) < 25_000


async def test_a_cancel_of_an_unknown_id_poisons_nothing(
    broker: Broker, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves no trace: a generation that gets this very id later runs to its end."""
    generation = "gen_" + "7" * 28
    assert await broker.jobs.cancel(generation, "client") == "gone"
    left = [key async for key in cast("Any", broker.redis).scan_iter(match=f"*{generation}*")]
    assert left == []

    def same(_now: int) -> str:
        return generation

    monkeypatch.setattr("broker.jobs.new_id", same)
    made = await broker.submit(request(3, 0))
    await start_worker()
    assert made.record.id == generation
    assert (await broker.wait(generation, 10)).status == "completed"
