"""The hub hands out hints; nothing may depend on one: design decision 10."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any, cast

import pytest

from broker.channel import NOTICES_HELD, Hints
from broker.client import Broker
from broker.events import Entry, TextDelta
from broker.notices import Notice
from broker.position import START, Position
from broker.tail_items import Batch, Live
from tests.broker.store import Store
from tests.support.waiting import wait_until


def notice(seq: int) -> Notice:
    """A notice with one entry."""
    return Notice([Entry(Position(1, seq), TextDelta(0, "x"))], Position(1, seq), Position(1, seq - 1), 30)


async def collect(broker: Broker, generation: str, got: list[str]) -> None:
    """Read a log to its end."""
    async with aclosing(broker.tail(generation, START, replay="exact")) as items:
        async for item in items:
            got += [str(entry.position) for entry in item.entries] if isinstance(item, Batch) else []
            got += ["live"] if isinstance(item, Live) else []


async def write_all(store: Store, generation: str, words: int) -> list[str]:
    """A whole answer, an entry a word; answers the ids."""
    writer = await store.own(generation)
    await writer.begin()
    for n in range(words):
        await writer.say(str(n))
    await writer.end()
    return [position for position, _ in await store.rows(generation)]


async def test_what_does_not_fit_becomes_a_hint() -> None:
    """The buffer is bounded: what is held is still handed out, and then a page is due."""
    hints = Hints()
    for seq in range(1, NOTICES_HELD + 50):
        hints.offer(notice(seq))
    assert len(await hints.wait(0)) == NOTICES_HELD
    assert await hints.wait(0) == []
    hints.offer(notice(999))
    assert len(await hints.wait(0)) == 1


async def test_frugal_hints_are_kept_only_for_who_waits() -> None:
    """Else a page is due: whoever is behind holds its position, and nothing else."""
    hints = Hints(frugal=True)
    hints.offer(notice(1))
    assert await hints.wait(0) == []
    waiting = asyncio.get_running_loop().create_task(hints.wait())
    await asyncio.sleep(0)
    hints.offer(notice(2))
    hints.offer(notice(3))
    assert [each.entries[0].position.seq for each in await waiting] == [2, 3]
    hints.offer(notice(4))
    assert await hints.wait(0) == []


async def test_hints_come_in_order_before_the_page() -> None:
    """A page hint never overtakes the entries before it."""
    hints = Hints()
    hints.offer(notice(1))
    hints.need_page()
    hints.offer(notice(2))
    assert [n.top for n in await hints.wait()] == [Position(1, 1)]
    assert await hints.wait() == []


async def test_dropping_every_notice_costs_latency_and_no_event(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The audit alone brings a reader to the end."""
    monkeypatch.setattr("broker.hub.AUDIT_S", 0.05)

    def deafen(_self: Hints, _notice: Notice) -> None:
        return

    def unread(_data: bytes) -> Notice:
        return Notice()

    monkeypatch.setattr(Hints, "offer", deafen)
    monkeypatch.setattr("broker.hub.parse_notice", unread)
    async with Broker(broker.settings) as deaf:
        store = Store.on(broker.redis, broker.settings)
        generation = await store.submit()
        got: list[str] = []
        reading = asyncio.ensure_future(collect(deaf, generation, got))
        await wait_until(lambda: "live" in got)
        ids = await write_all(store, generation, 20)
        await asyncio.wait_for(reading, 5)
    assert [at for at in got if at != "live"] == ids


async def test_a_killed_subscription_loses_nothing(broker: Broker) -> None:
    """The pub/sub connection is cut between every few entries."""
    store = Store.on(broker.redis, broker.settings)
    generation = await store.submit()
    got: list[str] = []
    reading = asyncio.ensure_future(collect(broker, generation, got))
    await wait_until(lambda: "live" in got)
    writer = await store.own(generation)
    await writer.begin()
    for n in range(30):
        await writer.say(str(n))
        if n % 6 == 0:
            await cast("Any", broker.redis).execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await writer.end()
    await asyncio.wait_for(reading, 10)
    assert [at for at in got if at != "live"] == [position for position, _ in await store.rows(generation)]


async def test_the_last_viewer_to_leave_unsubscribes(broker: Broker) -> None:
    """Channels of logs that nobody watches cost nothing."""
    store = Store.on(broker.redis, broker.settings)
    generation = await store.submit()
    name = store.keys.channel(generation)
    got: list[list[str]] = [[], []]
    readings = [asyncio.ensure_future(collect(broker, generation, seen)) for seen in got]
    await wait_until(lambda: all("live" in seen for seen in got))
    assert (await store.raw.pubsub_numsub(name))[0][1] == 1
    assert broker.hub.viewers == 2
    for reading in readings:
        reading.cancel()
    await asyncio.gather(*readings, return_exceptions=True)

    async def unsubscribed() -> bool:
        return (await store.raw.pubsub_numsub(name))[0][1] == 0

    await wait_until(unsubscribed)
    assert broker.hub.viewers == 0


async def test_viewers_that_come_and_go_never_orphan_one_another(broker: Broker) -> None:
    """Fifty short visits while the answer is written; one reader stays and misses nothing."""
    store = Store.on(broker.redis, broker.settings)
    generation = await store.submit()
    got: list[str] = []

    async def visit() -> None:
        async with broker.hub.subscribe(generation):
            await broker.hub.ready(generation)

    visits = asyncio.gather(*(visit() for _ in range(25)))
    reading = asyncio.ensure_future(collect(broker, generation, got))
    writing = asyncio.ensure_future(write_all(store, generation, 40))
    await asyncio.gather(visits, *(visit() for _ in range(25)))
    ids = await writing
    await asyncio.wait_for(reading, 10)
    assert [at for at in got if at != "live"] == ids
