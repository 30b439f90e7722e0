"""After every subscription a page is due, whatever was said before it: design decision 10."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from broker.client import Broker
from broker.notices import Notice, parse_notice
from tests.broker.store import Store
from tests.broker.test_hub import collect
from tests.support.waiting import wait_until


@pytest.fixture
async def deaf(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Broker]:
    """A broker whose audit never comes: a page is only read where the hub says so."""
    monkeypatch.setattr("broker.hub.AUDIT_S", 1000.0)
    async with Broker(broker.settings) as opened:
        yield opened


async def test_what_was_written_while_nobody_listened_is_paged(deaf: Broker, broker: Broker) -> None:
    """The subscription is cut and the answer ends before it is made anew: the reader still gets the end."""
    store = Store.on(broker.redis, broker.settings)
    writer = await store.own(await store.submit())
    await writer.begin()
    got: list[str] = []
    reading = asyncio.ensure_future(collect(deaf, writer.generation, got))
    await wait_until(lambda: "live" in got)
    await store.raw.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await writer.end("a", "b")
    await asyncio.wait_for(reading, 5)
    assert [at for at in got if at != "live"] == [place for place, _ in await store.rows(writer.generation)]


async def test_the_subscription_stands_before_the_first_page(
    deaf: Broker, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written between the first page and the first wait is heard: no reader ever hangs on a gap."""
    store = Store.on(broker.redis, broker.settings)
    writer = await store.own(await store.submit())
    read: Any = deaf.log.rows
    listening: list[int] = []

    async def page(*args: object, **kwargs: object) -> object:
        answer: object = await read(*args, **kwargs)
        if not listening:
            name = store.keys.channel(writer.generation)
            listening.append((await store.raw.pubsub_numsub(name))[0][1])
            await writer.begin()
            await writer.end("a")
        return answer

    monkeypatch.setattr(deaf.log, "rows", page)
    got: list[str] = []
    await asyncio.wait_for(collect(deaf, writer.generation, got), 5)
    assert listening == [1]
    assert [at for at in got if at != "live"] == [place for place, _ in await store.rows(writer.generation)]


async def test_a_notice_that_can_not_be_read_makes_a_page(
    deaf: Broker, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other notice is garbage: read from the log instead, in order, each once."""
    store = Store.on(broker.redis, broker.settings)
    writer = await store.own(await store.submit())
    count = iter(range(1000))

    def garbled(data: bytes) -> Notice:
        return parse_notice(data if next(count) % 2 else b"?" + data)

    monkeypatch.setattr("broker.hub.parse_notice", garbled)
    got: list[str] = []
    reading = asyncio.ensure_future(collect(deaf, writer.generation, got))
    await wait_until(lambda: "live" in got)
    await writer.begin()
    for n in range(20):
        await writer.say(str(n))
    await writer.end()
    await asyncio.wait_for(reading, 5)
    assert [at for at in got if at != "live"] == [place for place, _ in await store.rows(writer.generation)]
