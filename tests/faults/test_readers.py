"""Readers on quiet streams, beside stalled ones, in the middle of a replay, and of texts that break naive parsers."""
# pyright: reportPrivateUsage=false
# (which connection the hub listens on is nobody else's business)

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import Any, cast

import pytest

from broker.channel import NOTICES_HELD
from broker.client import Broker
from broker.events import TextDelta
from broker.feed import PlainFeed
from broker.hub import Hub
from broker.log import PAGE_ENTRIES
from broker.queue import Taken
from broker.redis import connect
from broker.settings import Settings
from broker.tail_items import Batch, Live
from tests.api.conftest import StartNode
from tests.api.fake_door import EPOCH, FakeDoor
from tests.api.raw import RawClient
from tests.api.reading import DONE, STARTED, WHOLE, parsed, read, url
from tests.broker.store import Store
from tests.broker.test_hub import collect
from tests.conftest import StartWorker
from tests.integration.reading import request
from tests.support.waiting import wait_until

TEXT = "a\rb\nc\r\nd\u2028e\u2029f\x85g\x0bh\x0ci\x1ej\0k\ufeffl🙂é"
SOCKET_TIMEOUT_S = 0.1


@pytest.mark.integration
async def test_a_quiet_stream_outlives_the_socket_timeout(
    broker: Broker, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is said for many times as long: the one subscription is still the same, and hears the next entry."""
    monkeypatch.setattr("broker.hub.AUDIT_S", 1000.0)
    store = Store.on(broker.redis, settings)
    writer = await store.own(await store.submit())
    await writer.begin()
    impatient = connect(settings.redis_url, size=1, timeout_s=SOCKET_TIMEOUT_S, retries=0)
    async with (
        Hub(lambda listener: PlainFeed(impatient, listener), broker.keys, broker.log, broker.scripts, "node") as hub,
        hub.subscribe(writer.generation) as hints,
    ):
        await hub.ready(writer.generation)
        await hints.wait(0)
        connection = cast("Any", hub._feed)._pubsub.connection
        assert await hints.wait(8 * SOCKET_TIMEOUT_S) == []
        await writer.say("a")
        (notice,) = await hints.wait(5)
        assert notice.entries[0].event == TextDelta(0, "a")
        assert cast("Any", hub._feed)._pubsub.connection is connection


@pytest.mark.integration
async def test_an_idle_worker_is_not_interrupted(
    start_worker: StartWorker, broker: Broker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It blocks at the doorbell, poll after poll, and no timeout of a socket cuts that short."""
    polls = 0

    async def take(*_args: object, **_how: object) -> Taken:
        nonlocal polls
        polls += 1
        return Taken([], more=False, standing=0)

    monkeypatch.setattr("worker.queue.IDLE_POLL_S", 0.05)
    monkeypatch.setattr("broker.queue.JobQueue.take", take)
    await start_worker()
    await wait_until(lambda: polls > 4)
    assert [record.message for record in caplog.records if "interrupted" in record.message] == []
    await broker.ping()


@pytest.mark.integration
async def test_a_blocked_read_delays_no_append(
    start_worker: StartWorker, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker blocks at the doorbell for longer than anybody waits here: its tokens come all the same."""
    monkeypatch.setattr("worker.queue.POLL_S", 60.0)
    monkeypatch.setattr("worker.queue.IDLE_POLL_S", 60.0)
    await start_worker()
    made = await broker.submit(request(40, 100, delivery={"batch": "none"}))
    assert (await broker.wait(made.record.id, 20)).status == "completed"


@pytest.mark.integration
async def test_nothing_live_overtakes_the_replay(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries are written behind every page that is read: the reader has all in order, and says live only once."""
    store = Store.on(broker.redis, broker.settings)
    writer = await store.own(await store.submit())
    await writer.begin()
    await writer.append(*(TextDelta(0, "x") for _ in range(2 * PAGE_ENTRIES)))
    page = broker.log.page
    pages = 0

    async def read_page(*args: Any, **kwargs: Any) -> Any:
        nonlocal pages
        pages += 1
        answer = await page(*args, **kwargs)
        if pages <= 4:
            await writer.say(str(pages))
        return answer

    monkeypatch.setattr(broker.log, "page", read_page)
    seqs: list[int] = []
    lives: list[int] = []
    async with aclosing(broker.tail(writer.generation, replay="exact")) as items:
        async for item in items:
            if isinstance(item, Live):
                lives.append(len(seqs))
                await writer.end("last")
            elif isinstance(item, Batch):
                assert lives or not item.live
                seqs += [entry.position.seq for entry in item.entries]
    assert seqs == list(range(1, writer.next_seq + 2))
    assert len(lives) == 1
    assert lives[0] >= 2 + 2 * PAGE_ENTRIES


@pytest.mark.integration
@pytest.mark.notices
async def test_a_stalled_viewer_holds_nobody_up_and_loses_nothing(broker: Broker) -> None:
    """It takes nothing while more is written than is held for it; another has all at once; in the end so has it."""
    store = Store.on(broker.redis, broker.settings)
    generation = await store.submit()
    writer = await store.own(generation)
    await writer.begin()
    got: list[str] = []
    reading = asyncio.ensure_future(collect(broker, generation, got))
    slow: list[str] = []
    at_tail = stalled = False
    async with aclosing(broker.tail(generation, replay="exact")) as items:
        async for item in items:
            slow += [str(entry.position) for entry in item.entries] if isinstance(item, Batch) else []
            at_tail = at_tail or isinstance(item, Live)
            if isinstance(item, Batch) and item.live and not stalled:
                stalled = True
                for n in range(2 * NOTICES_HELD):
                    await writer.say(str(n))
                await writer.end()
                await asyncio.wait_for(reading, 5)
            elif at_tail and not stalled:
                await writer.say("for the first notice that it takes")
    assert stalled
    truth = [position for position, _ in await store.rows(generation)]
    assert [at for at in got if at != "live"] == truth
    assert slow == truth


@pytest.mark.parametrize("live", [True, False])
async def test_line_ends_of_all_kinds_come_through(start_node: StartNode, door: FakeDoor, live: bool) -> None:
    """In each format, replayed and live: the text that was said, and no line, frame or event more."""
    node = await start_node()
    generation = door.create(STARTED, *(() if live else (TextDelta(0, TEXT), DONE)))
    async with RawClient(node.port) as sse, RawClient(node.port) as lines, RawClient(node.port) as bare:
        await sse.get(url(generation))
        await lines.get(url(generation, "?format=ndjson"))
        await bare.get(url(generation, "?format=text"))
        if live:
            await sse.read_until(b"stream.live")
            await lines.read_until(b"stream.live")
            door.append(generation, TextDelta(0, TEXT), DONE)
        for client in (sse, lines, bare):
            assert await client.read_all() == "last chunk"
    (data,) = (event.data for event in parsed(sse) if event.type == "text.delta")
    assert json.loads(data)["text"] == TEXT
    events = [json.loads(line)["event"] for line in lines.body.split(b"\n")[:-1]]
    assert [event["text"] for event in events if event["type"] == "text.delta"] == [TEXT]
    assert bare.body.decode() == TEXT


async def test_reading_makes_no_generation(start_node: StartNode, door: FakeDoor) -> None:
    """Finished, expired, unknown, with or without a position: answered at once, and nothing is submitted."""
    node = await start_node()
    finished, expired = door.create(*WHOLE), door.create(*WHOLE)
    door.expire(expired)
    known = set(door.logs)
    asked = [(finished, f"{EPOCH}-5", 204), (expired, f"{EPOCH}-3", 410), ("gen_nobody", f"{EPOCH}-3", 404)]
    for generation, position, status in asked:
        async with RawClient(node.port) as client, asyncio.timeout(2):
            assert await client.get(url(generation), last_event_id=position) == status
    assert (await read(node, url(finished))).end == "last chunk"
    assert (set(door.logs), door.requests) == (known, [])


def test_silence_is_broken_before_a_proxy_loses_patience() -> None:
    """The shortest idle timeout that proxies are known for is 30 seconds."""
    assert Settings.model_fields["heartbeat_s"].default < 30
