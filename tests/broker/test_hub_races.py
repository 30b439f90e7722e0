"""Viewers that come while others go: each interleaving made by hand, with an audit that never comes to the rescue."""
# pyright: reportPrivateUsage=false
# (the interleavings are made inside the hub)

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from broker.channel import Subscription
from broker.client import Broker
from broker.errors import LogUnavailable
from broker.hub import Hub
from broker.notices import Notice
from broker.position import Position
from broker.scripts import Scripts
from tests.broker.store import Store
from tests.broker.test_hub import collect
from tests.support.waiting import wait_until


@pytest.fixture
async def hub(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hub]:
    """A connected hub without an audit."""
    monkeypatch.setattr("broker.hub.AUDIT_S", 1000.0)
    async with Broker(broker.settings) as opened:
        async with opened.hub.subscribe("gen_first"):
            await opened.hub.ready("gen_first")
        yield opened.hub


async def hears(store: Store, hub: Hub, generation: str, hints: Subscription) -> None:
    """The next entry reaches this viewer as a notice."""
    await asyncio.wait_for(hub.ready(generation), 5)
    await hints.wait(0)
    writer = await store.own(generation)
    await writer.begin()
    taken: list[Position | None] = []

    async def spoken_of() -> bool:
        taken.extend(notice.top for notice in await hints.wait(0.01))
        return taken == [Position(writer.fence.epoch, 2)]

    await wait_until(spoken_of, 5)


async def test_a_visit_does_not_drop_the_channel_of_who_is_subscribing(
    hub: Hub, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is still on its way to Redis while the second comes and goes."""
    store = Store.on(broker.redis, broker.settings)
    generation = await store.submit()
    asked = asyncio.Event()
    send = hub._feed.subscribe
    held: list[Sequence[str]] = []

    def slow(channels: Sequence[str]) -> None:
        held.append(channels)
        asked.set()

    monkeypatch.setattr(hub._feed, "subscribe", slow)

    async def first() -> None:
        async with hub.subscribe(generation) as hints:
            assert hub.viewers == 1
            await hears(store, hub, generation, hints)

    watching = asyncio.ensure_future(first())
    await asked.wait()
    async with hub.subscribe(generation):
        assert hub.viewers == 2
    monkeypatch.undo()
    for channels in held:
        send(channels)
    await asyncio.wait_for(watching, 10)


async def test_who_comes_while_the_last_one_leaves_is_heard_of(
    hub: Hub, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Giving the lease back takes its time; the unsubscribe behind it must not silence the newcomer."""
    store = Store.on(broker.redis, broker.settings)
    generation = await store.submit(on_disconnect={"cancel_after_s": 60})
    leaving, go = asyncio.Event(), asyncio.Event()
    watch = Scripts.watch

    async def slow(self: Scripts, generation: str, node: str = "", hold_ms: int | None = None) -> Any:
        if hold_ms == 0:
            leaving.set()
            await go.wait()
        return await watch(self, generation, node, hold_ms)

    monkeypatch.setattr(Scripts, "watch", slow)

    async def first() -> None:
        async with hub.subscribe(generation):
            await hub.ready(generation)
            await hub.count_viewers(generation)

    visit = asyncio.ensure_future(first())
    await leaving.wait()
    async with hub.subscribe(generation) as hints:
        go.set()
        await visit
        await hears(store, hub, generation, hints)
        assert hub.viewers == 1


async def test_the_audit_finds_every_tail_that_no_notice_spoke_of(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only the first one: a reader without any notice keeps up, round after round."""
    monkeypatch.setattr("broker.hub.AUDIT_S", 0.02)

    def drop(_hints: Subscription, _notice: Notice) -> None:
        pass

    def unreadable(_data: bytes) -> Notice:
        return Notice()

    monkeypatch.setattr("broker.hub.parse_notice", unreadable)
    monkeypatch.setattr(Subscription, "offer", drop)
    store = Store.on(broker.redis, broker.settings)
    writer = await store.own(await store.submit())
    await writer.begin()
    got: list[str] = []
    async with Broker(broker.settings) as deaf:
        reading = asyncio.ensure_future(collect(deaf, writer.generation, got))
        await wait_until(lambda: "live" in got)
        for n in range(4):
            await writer.say(str(n))
            place = str(Position(writer.fence.epoch, writer.next_seq - 1))
            await wait_until(lambda place=place: place in got, 5)
        await writer.end()
        await asyncio.wait_for(reading, 5)
    places = [place for place in got if place != "live"]
    assert places == [place for place, _ in await store.rows(writer.generation)]


async def test_a_lease_that_could_not_be_given_back_alarms_nobody(
    broker: Broker, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last viewer is cancelled while Redis is asked, and Redis breaks: nobody is left who could hear of it."""
    store = Store.on(broker.redis, broker.settings)
    generation = await store.submit(on_disconnect={"cancel_after_s": 60})
    asked, broken = asyncio.Event(), asyncio.Event()
    alarms: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: alarms.append(context))

    async def watch(_self: Scripts, _generation: str, _node: str = "", hold_ms: int | None = None) -> tuple[int, int]:
        if hold_ms == 0:
            asked.set()
            await broken.wait()
            raise LogUnavailable
        return 0, 0

    monkeypatch.setattr(Scripts, "watch", watch)

    async def look() -> None:
        async with hub.subscribe(generation):
            await hub.count_viewers(generation)

    leaving = asyncio.ensure_future(look())
    await asked.wait()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    broken.set()
    await wait_until(lambda: not _asking())
    gc.collect()
    assert alarms == []


def _asking() -> list[asyncio.Task[Any]]:
    return [task for task in asyncio.all_tasks() if "watch" in repr(task) or "_give_back" in repr(task)]
