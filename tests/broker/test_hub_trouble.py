"""Connections that fall silent, fail half-way or can't be asked: the hub makes them anew and says "read a page"."""
# pyright: reportPrivateUsage=false
# (the trouble is made inside)

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from broker.client import Broker
from broker.errors import LogUnavailable
from broker.hub import Subscription
from broker.notices import Notice
from broker.position import Position
from tests.broker.store import Store, Writer
from tests.broker.test_hub import collect
from tests.support.waiting import wait_until


async def a_writer(broker: Broker) -> tuple[Store, Writer]:
    """The owner of a log that has begun."""
    store = Store.on(broker.redis, broker.settings)
    writer = await store.own(await store.submit())
    await writer.begin()
    return store, writer


async def places(store: Store, generation: str) -> list[str]:
    """The ids in the log."""
    return [place for place, _ in await store.rows(generation)]


def unreadable(_data: bytes) -> Notice:
    """A hint and no more."""
    return Notice()


def drop(_hints: Subscription, _notice: Notice) -> None:
    """It never arrives."""


async def test_nobody_waits_for_a_channel_that_is_not_there(broker: Broker) -> None:
    """Whoever asks behind the last viewer's back is not kept for ever, and takes no viewers' lease."""
    await asyncio.wait_for(broker.hub.ready("gen_nobody"), 1)
    await broker.hub.count_viewers("gen_nobody")
    assert await broker.redis.zcard(broker.keys.viewers("gen_nobody")) == 0


async def test_an_audit_that_can_not_be_made_is_made_again(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is away for some rounds; the reader, who hears no notice, still gets everything afterwards."""
    monkeypatch.setattr("broker.hub.AUDIT_S", 0.01)
    monkeypatch.setattr("broker.hub.parse_notice", unreadable)
    store, writer = await a_writer(broker)
    got: list[str] = []
    async with Broker(broker.settings) as own:
        look = own.log.tops
        rounds = 0

        async def away(generations: Any) -> list[Position | None]:
            nonlocal rounds
            rounds += 1
            if rounds < 4:
                raise LogUnavailable
            return await look(generations)

        monkeypatch.setattr("broker.channel.Hints.offer", drop)
        monkeypatch.setattr(own.log, "tops", away)
        reading = asyncio.ensure_future(collect(own, writer.generation, got))
        await wait_until(lambda: "live" in got)
        await writer.end("a")
        await asyncio.wait_for(reading, 5)
        assert rounds >= 4
    assert [at for at in got if at != "live"] == await places(store, writer.generation)


async def test_who_is_cancelled_while_leaving_leaves_all_the_same(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last viewer is cancelled while its node's lease is given back: the subscription goes nevertheless."""
    store, writer = await a_writer(broker)
    given_back = asyncio.Event()

    async def watch(*_args: object) -> tuple[int, int]:
        given_back.set()
        await asyncio.Event().wait()
        return -1, 0

    async def visit() -> None:
        async with broker.hub.subscribe(writer.generation):
            await broker.hub.ready(writer.generation)
            broker.hub._channels[writer.generation].leased = True
            monkeypatch.setattr(broker.hub._scripts, "watch", watch)

    leaving = asyncio.ensure_future(visit())
    await given_back.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    channel = broker.keys.channel(writer.generation)

    async def unsubscribed() -> bool:
        return dict(await store.raw.pubsub_numsub(channel)).get(channel.encode()) == 0

    await wait_until(unsubscribed)
