"""What a real worker costs: answers of the built-in provider at a rate, every token an entry, nobody watching."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from bench.curves.fleet import worker
from bench.curves.points import SECONDS, Point
from bench.curves.rig import WARM_S, process_account
from bench.redis_meter import RedisMeter
from broker.client import Broker
from broker.request import Delivery, GenerationRequest
from broker.settings import Settings
from rejoinder.embedded import EmbeddedServer

START_S = 30.0
AT_ONCE = 100
PREFIX = "rejoinder"


class NotKept(RuntimeError):
    """The worker did not append what the providers said at their rate: the point is void."""


async def appending(point: Point) -> dict[str, Any]:
    """``point.streams`` answers in flight at ``point.rate`` tokens/s each. Raises :class:`NotKept`."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(EmbeddedServer())
        meter = await stack.enter_async_context(RedisMeter(server.url))
        settings = Settings(redis_url=server.url, key_prefix=PREFIX, max_queue=100_000)
        broker = await stack.enter_async_context(Broker(settings))
        running = await _submit(broker, point)
        own = await meter.connections()
        child = await stack.enter_async_context(worker(server.url))
        await _until_started(broker, running)
        await asyncio.sleep(WARM_S)
        clock = asyncio.get_running_loop().time
        before, begun, first = process_account(child.pid), clock(), await _entries(broker, running)
        redis = await meter.cpu_ns()
        await asyncio.sleep(SECONDS)
        last, wall, after = await _entries(broker, running), clock() - begun, process_account(child.pid)
        redis = await meter.cpu_ns() - redis
        connections = await meter.connections()
    rate = (last - first) / wall
    if rate < 0.9 * point.streams * point.rate:
        raise NotKept(f"{rate:,.0f} of {point.streams * point.rate:,.0f} tokens/s")
    return {
        "events_per_s": rate,
        "worker_cores": (after[0] - before[0]) / wall,
        "worker_bytes": after[1],
        "redis_cores": redis / 1e9 / wall,
        "worker_redis_connections": connections - own,
    }


async def _submit(broker: Broker, point: Point) -> list[str]:
    tokens = int(point.rate * (START_S + SECONDS + WARM_S))
    wanted = GenerationRequest(
        model="demo/demo-1",
        input="x",
        delivery=Delivery(batch="none"),
        provider_options={"tokens": tokens, "rate": point.rate},
    )
    found: list[str] = []
    for _ in range(0, point.streams, AT_ONCE):
        count = min(AT_ONCE, point.streams - len(found))
        found += [made.record.id for made in await asyncio.gather(*(broker.submit(wanted) for _ in range(count)))]
    return found


async def _until_started(broker: Broker, running: list[str]) -> None:
    async with asyncio.timeout(START_S):
        for generation in running:
            # A worker's first token is an event of another process.
            while (await broker.get(generation, output=False)).first_token_at is None:  # noqa: ASYNC110 - see above
                await asyncio.sleep(0.02)


async def _entries(broker: Broker, running: list[str]) -> int:
    tops = await broker.log.tops(running)
    return sum(top.seq for top in tops if top is not None)
