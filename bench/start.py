"""Submit -> start: our queue beside stock arq polling, interleaved in one run on one server."""

from __future__ import annotations

import asyncio
import contextlib
import random
from contextlib import aclosing
from typing import Any

from arq import func
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.worker import Worker

from broker.client import Broker
from broker.events import Started
from broker.request import GenerationRequest
from broker.tail_items import Batch
from broker.tasks import end

STOCK_QUEUE = "bench:stock"


class Stock:
    """Stock arq with its defaults: the queue is polled twice a second."""

    def __init__(self, port: int) -> None:
        self._settings = RedisSettings(port=port)
        self._started: dict[str, asyncio.Future[float]] = {}
        self._worker: Worker | None = None
        self._pool: ArqRedis | None = None

    async def open(self) -> asyncio.Task[None]:
        """Start a worker; the task runs until it is cancelled."""
        loop = asyncio.get_running_loop()

        async def job(ctx: dict[str, Any]) -> None:
            self._started[ctx["job_id"]].set_result(loop.time())

        self._pool = await create_pool(self._settings, default_queue_name=STOCK_QUEUE)
        self._worker = Worker(
            [func(job, name="job")],
            redis_settings=self._settings,
            queue_name=STOCK_QUEUE,
            handle_signals=False,
            keep_result=0,
        )
        return loop.create_task(self._worker.async_run())

    async def start_ms(self) -> float:
        """One job, from its submit to its start."""
        assert self._pool is not None
        loop = asyncio.get_running_loop()
        name = f"b{random.getrandbits(64):x}"
        started = self._started[name] = loop.create_future()
        begun = loop.time()
        await self._pool.enqueue_job("job", _job_id=name)
        return (await started - begun) * 1000

    async def close(self, task: asyncio.Task[None]) -> None:
        """End the worker and its connections."""
        await end(task)
        if self._worker is not None:
            # The job that was cut off by the end of the run is of no interest, and arq says that it was.
            with contextlib.suppress(asyncio.CancelledError):
                await self._worker.close()
        if self._pool is not None:
            await self._pool.aclose(close_connection_pool=True)


async def ours_ms(broker: Broker) -> float:
    """One generation, from before its submit to a reader's sight of ``generation.started``."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    wanted = GenerationRequest(model="demo/demo-1", input="x", provider_options={"tokens": 2, "rate": 0})
    made = await broker.submit(wanted)
    seen = 0.0
    async with aclosing(broker.tail(made.record.id, replay="exact")) as items:
        async for item in items:
            for entry in item.entries if isinstance(item, Batch) else ():
                if isinstance(entry.event, Started) and not seen:
                    seen = loop.time()
    return (seen - begun) * 1000


async def measure(broker: Broker, port: int, rounds: int) -> tuple[list[float], list[float]]:
    """Ours and stock, in turn."""
    stock = Stock(port)
    task = await stock.open()
    ours: list[float] = []
    theirs: list[float] = []
    try:
        for _ in range(20):
            await ours_ms(broker)
        for _ in range(rounds):
            ours += [await ours_ms(broker) for _ in range(5)]
            theirs.append(await stock.start_ms())
    finally:
        await stock.close(task)
    return ours, theirs
