"""One worker process: many concurrent generations. The one place of the worker that reads the environment."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Mapping

import uvloop
from redis.exceptions import RedisError

from broker.client import Broker
from broker.garbage import look_rarely
from broker.logs import configure
from broker.open_files import allow_open_files
from broker.redis import Redis, connect, text
from broker.server_check import check_at_start
from broker.settings import Settings
from broker.tasks import end
from worker.generate import Generator
from worker.providers.registry import Registry
from worker.queue import QueueWorker

_log = logging.getLogger(__name__)

_RECONNECT_S = 0.2
HAND_OVER_S = 2.0
"""How long the hand-over of what still runs may take."""


async def serve(settings: Settings, *, environ: Mapping[str, str], stop: asyncio.Event) -> None:
    """Work until ``stop``, then drain: take no new job, let generations finish, hand the rest over.

    Raises ``UnfitServer`` when Redis would lose what it is given.
    """
    await check_at_start(settings)
    async with Broker(settings) as broker:
        registry = Registry(settings, environ)
        generator = Generator(broker, registry)
        loop = asyncio.get_running_loop()

        def trouble() -> None:
            generator.whole_since = loop.time()

        queue = QueueWorker(
            settings.queue_url or settings.redis_url,
            broker.keys,
            broker.queue,
            generator.run,
            lease_s=settings.lease_s,
            max_jobs=settings.max_jobs,
            trouble=trouble,
        )
        tasks = [loop.create_task(queue.main()), loop.create_task(_hear_cancels(broker, generator))]
        waiting = loop.create_task(stop.wait())
        try:
            await asyncio.wait([*tasks, waiting], return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                await _drain(queue, generator, settings.worker_drain_s)
        finally:
            await end(*tasks, waiting)
            await queue.aclose()
            await registry.aclose()
        for task in tasks:
            if not task.cancelled() and (error := task.exception()):
                raise error


async def _drain(queue: QueueWorker, generator: Generator, drain_s: float) -> None:
    queue.allow_pick_jobs = False
    running = [task for task in queue.tasks.values() if not task.done()]
    _log.info("draining: %d generations run", len(running))
    if running and drain_s > 0:
        await asyncio.wait(running, timeout=drain_s)
    left = [task for task in running if not task.done()]
    if left:
        _log.info("handing over %d generations", len(left))
        generator.hand_over()
        await asyncio.wait(left, timeout=HAND_OVER_S)


async def _hear_cancels(broker: Broker, generator: Generator) -> None:
    """Hear of cancels at once. A message that is lost costs at most a third of a lease: the next renewal tells, too."""
    redis = connect(broker.settings.redis_url, size=1, retries=0)
    try:
        while True:
            with contextlib.suppress(RedisError, OSError):
                await _listen(redis, broker.keys.control, generator)
            await asyncio.sleep(_RECONNECT_S)
    finally:
        await redis.aclose()


async def _listen(redis: Redis, channel: str, generator: Generator) -> None:
    pubsub = redis.pubsub()
    try:
        await pubsub.subscribe(channel)
        for generation in list(generator.running):
            generator.look(generation)
        while True:
            message = await pubsub.get_message(timeout=2.0)
            if message is None:
                await pubsub.ping()
            elif message["type"] == "message":
                generator.look(text(message["data"]))
    finally:
        await pubsub.aclose()


async def _main(settings: Settings, environ: Mapping[str, str]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, environ=environ, stop=stop)


def run(settings: Settings) -> None:
    """Run a worker until SIGTERM or SIGINT; blocks."""
    configure(settings)
    for library in ("arq", "httpx2"):
        logging.getLogger(library).setLevel(logging.WARNING)
    look_rarely()
    allow_open_files()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(settings, os.environ))


def main() -> None:
    """Entry point: settings from the environment."""
    run(Settings())


if __name__ == "__main__":
    main()
