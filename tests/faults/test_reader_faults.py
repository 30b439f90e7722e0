"""Readers that come and go, and what they must not leave behind or stop."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from typing import Any, cast

import pytest

from broker.client import Broker
from broker.redis import COMMAND_TIMEOUT_S, POOL_SIZE, connect
from tests.broker.store import Store
from tests.broker.test_hub import collect
from tests.conftest import MakeSettings
from tests.integration.reading import read, request
from tests.support.history import check
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration


async def test_a_publish_storm_between_replay_and_tail_leaves_no_hole(broker: Broker) -> None:
    """Entries are appended without a pause while readers arrive: each of them has all of it."""
    store = Store.on(broker.redis, broker.settings)
    generation = await store.submit()
    writer = await store.own(generation)
    await writer.begin()
    readers: list[asyncio.Future[Any]] = []
    for n in range(300):
        await writer.say(f"{n} ")
        if n % 6 == 0:
            readers.append(asyncio.ensure_future(read(broker, generation)))
            await asyncio.sleep(0)
    await writer.end()
    viewers = await asyncio.wait_for(asyncio.gather(*readers), 20)
    truth = [seen for seen in (await read(broker, generation)).seen if seen.id]
    assert check(viewers, {generation: truth}) == []


async def test_who_leaves_does_not_stop_the_generation(broker: Broker, worker: asyncio.Event) -> None:
    """A reader's going is no cancel, unless the request says so."""
    del worker
    made = await broker.submit(request(60, 100))
    async with aclosing(broker.tail(made.record.id)) as items:
        async for _ in items:
            break
    assert (await broker.wait(made.record.id, 10)).status == "completed"


async def test_cancelled_commands_poison_no_connection(make_settings: MakeSettings, key_prefix: str) -> None:
    """Commands are cancelled at every moment: nobody gets another one's reply, and no connection is lost."""
    chooser = random.Random(7)
    client = connect(make_settings().redis_url)
    before = len(await cast("Any", client).client_list())
    names = [f"{key_prefix}:{n}" for n in range(40)]
    for name in names:
        await client.set(name, name, px=60_000)

    async def ask(name: str) -> None:
        pipe = client.pipeline(transaction=chooser.random() < 0.5)
        cast("Any", pipe).get(name)
        assert await client.get(name) == name.encode()
        assert await pipe.execute() == [name.encode()]

    for _ in range(15):
        tasks = [asyncio.ensure_future(ask(name)) for name in names]
        for _ in range(chooser.randrange(1, 8)):
            await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert [end for end in ended if end is not None and not isinstance(end, asyncio.CancelledError)] == []
    assert len(await cast("Any", client).client_list()) <= before + POOL_SIZE
    await client.aclose()


def test_timeouts_are_said_and_not_inherited() -> None:
    """A library's new default must not cut reads that block, nor let others hang."""
    pool = connect("redis://127.0.0.1:1/0").connection_pool
    assert pool.connection_kwargs["socket_timeout"] == COMMAND_TIMEOUT_S
    assert pool.connection_kwargs["socket_connect_timeout"] > 0
    patient = connect("redis://127.0.0.1:1/0", timeout_s=None).connection_pool
    assert patient.connection_kwargs["socket_timeout"] is None


@pytest.mark.notices
async def test_two_hundred_viewers_take_no_connection_of_their_own(broker: Broker) -> None:
    """One subscription and a pool, whatever their number; and nothing is left when they go."""
    store = Store.on(broker.redis, broker.settings)
    generation = await store.submit()
    writer = await store.own(generation)
    await writer.begin()
    before = len(await store.raw.client_list(_type="normal"))
    got: list[list[str]] = [[] for _ in range(200)]
    readers = [asyncio.ensure_future(collect(broker, generation, mine)) for mine in got]
    await wait_until(lambda: all("live" in mine for mine in got))
    assert len(await store.raw.client_list(_type="pubsub")) == 1
    assert len(await store.raw.client_list(_type="normal")) <= before + POOL_SIZE
    await writer.end("a")
    await asyncio.wait_for(asyncio.gather(*readers), 10)
    channel = broker.keys.channel(generation)

    async def unsubscribed() -> bool:
        return dict(await store.raw.pubsub_numsub(channel)).get(channel.encode()) == 0

    await wait_until(unsubscribed)
