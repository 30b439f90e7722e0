"""A queue to load: a server, a provider on the loopback, workers as processes, and what their answers must be."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bench.child import Child, start
from bench.curves.fleet import PREFIX, environment
from bench.fake_answers import Ask, Count, is_whole
from bench.fake_provider import NAME, FakeProvider, fake_provider
from broker.client import Broker
from broker.request import GenerationRequest
from broker.settings import Settings
from rejoinder.embedded import EmbeddedServer

AT_ONCE = 100
"""Submits and reads in flight."""
LOOK_S = 0.02
T = TypeVar("T")


class Void(RuntimeError):
    """Something was lost, doubled, not whole, or not there in time."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A server, a provider, and a broker to submit with."""

    url: str
    provider: FakeProvider
    broker: Broker
    folder: Path

    @asynccontextmanager
    async def worker(self, name: str, max_jobs: int) -> AsyncGenerator[Child]:
        """One, on the servers' core, whom the provider knows by name."""
        env = environment(self.url, MAX_JOBS=str(max_jobs), CONFIG=self.provider.config(self.folder, name))
        async with start(name, (sys.executable, "-m", "rejoinder", "worker"), env=env, serves=True) as child:
            yield child

    async def submit(self, asks: Sequence[Ask]) -> dict[str, Ask]:
        """Generation -> what it asks for."""

        async def one(ask: Ask) -> str:
            made = await self.broker.submit(GenerationRequest(model=f"{NAME}/m", input=ask.prompt()))
            return made.record.id

        return dict(zip(await in_turn(one, asks), asks, strict=True))

    async def until(self, holds: Callable[[Count], bool], what: str, within_s: float) -> Count:
        """The provider's count, once it is so. Raises :class:`Void`: not in time."""
        count = Count()
        try:
            async with asyncio.timeout(within_s):
                # Of another process there is no event to wait for.
                while not holds(count := await self.provider.count()):  # noqa: ASYNC110 - see above
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise Void(f"not {what} within {within_s:.0f} s: {count}") from None
        return count

    async def queued(self) -> list[str]:
        """The generations that stand in the queue, in its order."""
        redis: Any = self.broker.queue_redis
        return [name.decode() for name in await redis.zrange(self.broker.keys.queue, 0, -1)]

    async def settled(self, asks: dict[str, Ask], within_s: float) -> int:
        """Wait for the queue to be empty, and look at every answer.

        Answers when it was (CLOCK_MONOTONIC, ns). Raises :class:`Void`.
        """
        left = len(asks)
        try:
            async with asyncio.timeout(within_s):
                while left := await self.broker.queue_length():  # noqa: ASYNC110 - see above
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise Void(f"{left} of {len(asks)} generations stood in the queue after {within_s:.0f} s") from None
        now = time.monotonic_ns()
        records = await in_turn(self.broker.get, list(asks))
        for record in records:
            text = record.output.text if record.output else ""
            if record.status != "completed" or record.attempt != 1 or not is_whole(text, asks[record.id]):
                raise Void(f"{record.id}: {record.status}, attempt {record.attempt}, {text[-60:]!r}, {record.error}")
        asked = Counter(call.key for call in await self.provider.book())
        if asked != Counter(ask.key for ask in asks.values()):
            raise Void(
                f"the provider was asked {asked.total()} times, at most {max(asked.values(), default=0)} for one"
            )
        return now


async def in_turn(do: Callable[[Any], Awaitable[T]], things: Sequence[Any]) -> list[T]:
    """Some at a time; answers in the order of the things."""
    found: list[T] = []
    for first in range(0, len(things), AT_ONCE):
        found += await asyncio.gather(*(do(thing) for thing in things[first : first + AT_ONCE]))
    return found


@asynccontextmanager
async def stage() -> AsyncGenerator[Stage]:
    """A fresh one."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = await stack.enter_async_context(EmbeddedServer())
        provider = await stack.enter_async_context(fake_provider())
        settings = Settings(redis_url=server.url, key_prefix=PREFIX, log_level="error", max_queue=100_000)
        broker = await stack.enter_async_context(Broker(settings))
        yield Stage(server.url, provider, broker, folder)
