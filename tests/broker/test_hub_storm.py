"""Viewers come and go while the subscription's connection is cut again and again."""
# pyright: reportPrivateUsage=false
# (whether the listener lives is nobody else's business)

from __future__ import annotations

import asyncio

from broker.client import Broker
from tests.broker.store import Store
from tests.broker.test_hub import collect
from tests.support.waiting import wait_until


async def test_cuts_under_a_storm_of_viewers_leave_one_connection_and_a_listener(broker: Broker) -> None:
    """Whoever meets the cut first, listener or newcomer: one connection is made anew, and everybody is heard."""
    store = Store.on(broker.redis, broker.settings)
    generations = [await store.submit() for _ in range(8)]
    cutting = True

    async def cut() -> None:
        for _ in range(30):
            await store.raw.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    async def visit(generation: str) -> None:
        while cutting:
            async with broker.hub.subscribe(generation):
                await asyncio.wait_for(broker.hub.ready(generation), 10)

    visits = asyncio.gather(*(visit(generation) for generation in generations for _ in range(3)))
    await cut()
    cutting = False
    await asyncio.wait_for(visits, 15)
    assert not any(task.done() for task in broker.hub._tasks)
    got: list[str] = []
    reading = asyncio.ensure_future(collect(broker, generations[0], got))
    await wait_until(lambda: "live" in got)

    async def one_connection() -> bool:
        return len(await store.raw.client_list(_type="pubsub")) == 1

    await wait_until(one_connection)
    writer = await store.own(generations[0])
    await writer.begin()
    await writer.end("a", "b")
    await asyncio.wait_for(reading, 10)
