"""What a token costs the worker that appends it: ``python -m bench.append [seconds]``, and a row of the core table.

One process writes 1,000 streams at 20 tokens a second each, every token an append of its own: through the worker's own
writers (with everything they do: batching, fencing, keeping what was said, leases), posted and awaited, and as it is
written by hand (one ``XADD`` of JSON a token). The cost of the loop that makes the tokens is measured alone and taken
off. A run whose logs are not whole is void.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

import uvloop
from redis.asyncio import BlockingConnectionPool, Redis

from bench.measure import Row
from bench.scale import Scale
from broker.client import Broker
from broker.events import TextDelta
from broker.garbage import look_rarely
from broker.position import START
from broker.redis import connect
from broker.request import GenerationRequest
from broker.scripts import Claim, Fence
from broker.settings import Settings
from broker.tasks import end
from rejoinder.embedded import EmbeddedServer
from worker.batcher import Batcher
from worker.held import Origin
from worker.writer import LogWriter

STREAMS = 1000
RATE = 20
LEASE_S = 30.0
_TICK_S = 0.001
_LOST = (b"{", b"{}")


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of processor time for each appended token."""

    name: str
    worker_us: float
    redis_us: float
    tokens: int


Write = Callable[[int, str], None]


async def say(write: Write, streams: int, rate: int, seconds: float) -> int:
    """Say tokens evenly over streams and time; answers how many."""
    clock = time.perf_counter
    begun, said, total = clock(), 0, streams * rate
    while (passed := clock() - begun) < seconds:
        due = int(passed * total)
        while said < due:
            write(said % streams, " hello")
            said += 1
        await asyncio.sleep(_TICK_S)
    return said


async def _measured(
    name: str, server: EmbeddedServer, write: Write, drain: Callable[[], Awaitable[None]], shape: tuple[int, int, float]
) -> Cost:
    redis: Any = connect(server.url, size=1)
    before, redis_before = time.process_time(), await _redis_s(redis)
    tokens = await say(write, *shape)
    await drain()
    spent, redis_spent = time.process_time() - before, await _redis_s(redis) - redis_before
    await redis.aclose()
    return Cost(name, spent / tokens * 1e6, redis_spent / tokens * 1e6, tokens)


async def _redis_s(redis: Any) -> float:
    info = await redis.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


async def _no_reclaim() -> tuple[Fence, Claim]:
    raise RuntimeError("nothing is forgotten here")


@asynccontextmanager
async def _writers(broker: Broker, count: int) -> AsyncGenerator[list[LogWriter]]:
    made: list[LogWriter] = []
    for _ in range(count):
        generation = (await broker.submit(GenerationRequest(model="demo/demo-1", input="x"))).record.id
        claim = await broker.log.claim(
            generation, "bench", lease_ms=int(LEASE_S * 1000), max_attempts=3, whole_ms=60_000, lost=_LOST
        )
        assert isinstance(claim, Claim)
        origin = Origin("demo", "demo-1", "restart", [])
        fence, batcher = Fence("bench", claim.epoch), Batcher("none", 0)
        writer = LogWriter(
            broker.log, generation, fence, claim, origin, batcher=batcher, lease_s=LEASE_S, reclaim=_no_reclaim
        )
        made.append(writer)
    tasks = [asyncio.get_running_loop().create_task(writer.run()) for writer in made]
    try:
        yield made
    finally:
        await end(*tasks)


async def ours(server: EmbeddedServer, live: str, shape: tuple[int, int, float]) -> Cost:
    """Through the worker's writers. Raises ``RuntimeError`` for a log that is not whole."""
    settings = Settings(redis_url=server.url, live=cast("Any", live), log_level="error", max_queue=100_000)
    async with Broker(settings) as broker, _writers(broker, shape[0]) as writers:
        said = [0] * len(writers)

        def write(stream: int, token: str) -> None:
            said[stream] += 1
            writers[stream].write(TextDelta(0, token))

        async def drain() -> None:
            for writer in writers:
                await writer.drain()

        cost = await _measured(f"ours, {live}", server, write, drain, shape)
        for writer, count in zip(writers, said, strict=True):
            # Created and started stand before the tokens.
            if (await _length(broker, writer)) != count + 2:
                raise RuntimeError("a run that loses a token is void")
        return cost


async def _length(broker: Broker, writer: LogWriter) -> int:
    top = (await broker.log.tops([writer.generation]))[0]
    return top.seq if top is not None else START.seq


async def naive(server: EmbeddedServer, shape: tuple[int, int, float]) -> Cost:
    """One XADD of JSON for each token, as it comes."""
    # Patient: by hand, more comes in than goes out, and the queue before the pool grows until the end.
    pool: Any = BlockingConnectionPool
    redis: Any = Redis(connection_pool=pool.from_url(server.url, max_connections=50, timeout=120))
    waiting: set[asyncio.Task[Any]] = set()
    loop = asyncio.get_running_loop()

    def write(stream: int, token: str) -> None:
        payload = json.dumps({"type": "token", "content": token})
        task = loop.create_task(redis.xadd(f"naive:{stream}", {"data": payload}, maxlen=100_000))
        waiting.add(task)
        task.add_done_callback(waiting.discard)

    async def drain() -> None:
        while waiting:
            await asyncio.gather(*waiting)

    cost = await _measured("naive", server, write, drain, shape)
    await redis.aclose()
    return cost


async def measure(seconds: float, streams: int = STREAMS, rate: int = RATE) -> list[Cost]:
    """All ways, in turn, on one server; the cost of saying the tokens is taken off."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[-1:])
    try:
        async with EmbeddedServer() as server:
            os.sched_setaffinity(0, cores[:1])
            shape = (streams, rate, seconds)
            idle = await _measured("the loop alone", server, lambda _stream, _token: None, _nothing, shape)
            costs = [await ours(server, "direct", shape), await ours(server, "plain", shape)]
            costs.append(await naive(server, shape))
            own = idle.worker_us
            return [Cost(c.name, c.worker_us - own, c.redis_us, c.tokens) for c in costs]
    finally:
        os.sched_setaffinity(0, cores)


async def run(scale: Scale) -> list[Row]:
    """Rows of the core table, and of how it would be without the fast path."""
    costs = await measure(scale.seconds(10.0), scale.of(STREAMS))
    names = {"ours, direct": ("append.worker_us", "ours"), "ours, plain": ("append.plain_us", "ours")}
    rows: list[Row] = []
    for cost in costs:
        metric, system = names.get(cost.name, ("append.worker_us", cost.name))
        rows.append(Row(metric, system, cost.worker_us, raw={"tokens": cost.tokens}))
        redis_name = metric.replace("worker_us", "redis_us").replace("plain_us", "plain_redis_us")
        rows.append(Row(redis_name, system, cost.redis_us))
    return rows


async def _nothing() -> None:
    """There is nothing to wait for."""


async def main(seconds: float) -> None:
    """Print the table."""
    look_rarely()
    print("| way | worker µs/token | Redis µs/token | tokens |\n|---|---|---|---|")
    for cost in await measure(seconds):
        print(f"| {cost.name} | {cost.worker_us:.1f} | {cost.redis_us:.1f} | {cost.tokens:,} |")


if __name__ == "__main__":
    uvloop.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0))
