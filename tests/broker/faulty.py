"""A log whose server has bad moments, and a writer of the worker on it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, TypeAlias, TypeVar, cast

import hiredis
from redis.exceptions import NoScriptError, RedisError

from broker.client import Broker
from broker.errors import Fenced, LogUnavailable
from broker.events import ContentEvent, Mode
from broker.log import StreamLog
from broker.scripts import AppendReply, Claim, Ending, Fence, FieldValue, Refusal, source
from tests.broker.store import Store
from tests.support.snapshot import Snapshot, restore, take
from tests.support.waiting import wait_until
from worker.batcher import Batcher
from worker.held import Origin
from worker.writer import LogWriter

T = TypeVar("T")
_CONSTANT_WORDS = 13
"""Of an append, in front of its entries."""
Fault: TypeAlias = Literal["none", "refuse", "lose", "forget-some", "forget-all"]
"""refuse: the request is lost · lose: the reply is lost · forget: a failover to a replica from before some, or before
all of this writer's appends."""


class FaultyLog(StreamLog):
    """Plays one fault before or after each write, until there are none left; writes down how large each append was."""

    posts = False
    """Whether appends may be posted, as on a lane."""

    def __init__(self, store: Store, generation: str, faults: Sequence[Fault] = ()) -> None:
        super().__init__(store.redis, store.keys, store.scripts)
        self.posted = 0
        """Appends that were not waited for."""
        self._posting: set[asyncio.Task[None]] = set()
        self.store = store
        self.generation = generation
        self.faults = deque(faults)
        self.replicas: list[Snapshot] = []
        self.appended: list[int] = []
        self.replies = asyncio.Event()
        """Cleared: replies are on their way and do not arrive."""
        self.replies.set()

    async def remember(self) -> None:
        """A replica has come so far."""
        self.replicas.append(await take(cast("Broker", self.store), self.generation))

    async def forget(self, replica: Snapshot) -> None:
        """That replica is promoted; it takes longer than the millisecond of the last claim."""
        epoch = int((await self.store.hash(self.generation))["epoch"])

        async def later() -> bool:
            return await self.store.jobs.now_ms() > epoch

        await wait_until(later)
        await restore(cast("Broker", self.store), self.generation, replica)

    async def _play(self, step: Callable[[], Awaitable[T]]) -> T:
        fault: Fault = self.faults.popleft() if self.faults else "none"
        if fault == "refuse":
            raise LogUnavailable
        if fault.startswith("forget") and self.replicas:
            await self.forget(self.replicas[-1 if fault == "forget-some" else 0])
        reply = await step()
        await self.replies.wait()
        if fault == "none":
            await self.remember()
        if fault == "lose":
            raise LogUnavailable
        return reply

    async def append(
        self, generation: str, fence: Fence, first: int, entries: Sequence[FieldValue], **how: Any
    ) -> AppendReply:
        """Compare-and-append, perhaps."""
        self.appended.append(len(entries))
        return await self._play(lambda: super(FaultyLog, self).append(generation, fence, first, entries, **how))

    @property
    def can_post(self) -> bool:
        """As the test says."""
        return self.posts

    def post(self, command: bytes, done: Callable[[Any], None]) -> None:
        """The same append, with the same faults, answered in a callback."""

        async def execute() -> Any:
            redis: Any = self.store.redis
            try:
                return await redis.execute_command(*_words(command))
            except NoScriptError:
                await redis.script_load(source("append"))
                return await redis.execute_command(*_words(command))

        async def send() -> None:
            try:
                reply = await self._play(execute)
            except (LogUnavailable, RedisError) as error:
                done(error)
            else:
                done(reply)

        self.posted += 1
        self.appended.append((len(_words(command)) - _CONSTANT_WORDS) // 2)
        task = asyncio.get_running_loop().create_task(send())
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)

    async def end(
        self, generation: str, fence: Fence, first: int, entries: Sequence[FieldValue], ending: Ending, **how: Any
    ) -> AppendReply:
        """The terminal entry, perhaps."""
        return await self._play(lambda: super(FaultyLog, self).end(generation, fence, first, entries, ending, **how))

    async def release(self, generation: str, fence: Fence) -> bool:
        """The hand-over, perhaps."""
        return await self._play(lambda: super(FaultyLog, self).release(generation, fence))


def _words(command: bytes) -> list[bytes]:
    parser: Any = hiredis.Reader()
    parser.feed(command)
    return parser.gets()


async def open_writer(
    log: FaultyLog,
    *,
    owner: str = "a",
    mode: Mode = "restart",
    prefix: Sequence[ContentEvent] = (),
    lease_s: float = 60.0,
    batcher: Batcher | None = None,
) -> LogWriter:
    """A claim that must be granted, and the writer that it makes; not yet running."""
    claim = await log.store.claim(log.generation, owner, lease_ms=int(lease_s * 1000))
    assert isinstance(claim, Claim)
    claims = [claim]

    async def reclaim() -> tuple[Fence, Claim]:
        fresh = f"{owner}{len(claims)}"
        again = await log.store.claim(log.generation, fresh, max_attempts=1000)
        if isinstance(again, Refusal):
            raise Fenced
        claims.append(again)
        return Fence(fresh, again.epoch), again

    return LogWriter(
        log,
        log.generation,
        Fence(owner, claim.epoch),
        claim,
        Origin("demo", "demo-1", mode, prefix),
        batcher=batcher or Batcher("none", 0),
        lease_s=lease_s,
        reclaim=reclaim,
    )
