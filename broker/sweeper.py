"""The sweeper: sees to it that every generation ends, whoever crashed. design.md decision 5.

It runs in every node and worker, one at a time, by the clock of Redis only. It queues what was committed and is not
queued, ends what has no time left and no live owner, and takes ids off the active index 60 s after it saw them ended.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from broker.errors import RejoinderError
from broker.hub import viewers_settle_s
from broker.jobs import JobStore
from broker.keys import Keys
from broker.queue import JobQueue
from broker.record import ENDED
from broker.redis import Redis, text, unavailable
from broker.scripts import Scripts

_log = logging.getLogger(__name__)

PERIOD_S = 1.0
SLOW_S = 2.0
"""A look that took longer came from a server that stood still."""
LINGER_MS = 60_000
"""How long an ended id stays on the index: longer than any submit can hang between its steps."""
SURE_S = 10.0
"""For how long, by its own clock, a sweeper has seen an id ended before it takes it off: Redis' clock may leap."""
_BATCH = 500
_QUEUED_LIFE_MS = 2 * 86_400_000
_FIELDS = ("status", "owner", "lease_until", "deadline_at", "cancel_after_ms")

Ended = Callable[[str], Awaitable[None]]
"""Called with the id of a generation that the sweeper has ended."""


class Sweeper:
    """Run :meth:`run` as a task, or :meth:`sweep` once."""

    def __init__(
        self, redis: Redis, keys: Keys, scripts: Scripts, queue: JobQueue, jobs: JobStore, ended: Ended, node: str
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._scripts = scripts
        self._queue = queue
        self._jobs = jobs
        self._ended = ended
        self._node = node
        self._clock = time.monotonic
        self._settled_at = 0.0
        """Until then nobody is taken for unwatched."""
        self._ended_since: dict[str, float] = {}
        """Ids on the index that the present sweep has found ended, and since when every sweep of ours has."""
        self._known = self._ended_since
        """The same, of the sweep before."""

    async def run(self) -> None:
        """Sweep once a second, for as long as nobody else does."""
        while True:
            await asyncio.sleep(PERIOD_S)
            began = self._clock()
            try:
                if await self._my_turn():
                    await self.sweep()
            except RejoinderError as error:
                self._unsettle()
                _log.warning("sweep interrupted: %s", error)
            if self._clock() - began > SLOW_S:
                self._unsettle()

    def _unsettle(self) -> None:
        self._settled_at = self._clock() + viewers_settle_s()

    async def _my_turn(self) -> bool:
        name, hold_ms = self._keys.sweeper, int(PERIOD_S * 5000)
        with unavailable():
            if await self._redis.set(name, self._node, nx=True, px=hold_ms):
                return True
            if text(await self._redis.get(name)) == self._node:
                await self._redis.pexpire(name, hold_ms)
                return True
            if await self._redis.pttl(name) <= hold_ms:
                return False
            # Nobody takes a turn for so long: the server's clock has gone back, and its holder may be dead.
            await self._redis.set(name, self._node, px=hold_ms)
        return True

    async def sweep(self) -> None:
        """Look at every active generation once."""
        now = await self._jobs.now_ms()
        at = 0
        self._known, self._ended_since = self._ended_since, {}
        while True:
            with unavailable():
                rows = await self._redis.zrange(self._keys.active, at, at + _BATCH - 1, withscores=True)
            if not rows:
                return
            removed = await self._batch([(text(name), int(score)) for name, score in rows], now)
            at += len(rows) - removed

    async def _batch(self, rows: list[tuple[str, int]], now: int) -> int:
        with unavailable():
            pipe = self._redis.pipeline(transaction=False)
            for generation, _ in rows:
                pipe.hmget(self._keys.job(generation), *_FIELDS)
            hashes: list[list[bytes | None]] = await pipe.execute()
        queued = await self._queue.contains([generation for generation, _ in rows])
        gone: list[str] = []
        for (generation, seen), values, waits in zip(rows, hashes, queued, strict=True):
            status = text(values[0])
            if status and status not in ENDED:
                if seen:
                    # Committed late, or its end was forgotten by a failover: it is active after all.
                    await self._mark(generation, 0)
                await self._tend(generation, values, now, queued=waits)
                continue
            since = self._ended_since[generation] = self._known.get(generation, self._clock())
            if seen == 0:
                await self._mark(generation, now)
            elif now - seen >= LINGER_MS and self._clock() - since >= SURE_S:
                gone.append(generation)
        if gone:
            with unavailable():
                await self._redis.zrem(self._keys.active, *gone)
        return len(gone)

    async def _mark(self, generation: str, seen: int) -> None:
        with unavailable():
            await self._redis.zadd(self._keys.active, {generation: seen}, xx=True)

    async def _tend(self, generation: str, values: list[Any], now: int, *, queued: bool) -> None:
        _, owner, lease_until, deadline_at, cancel_after = map(text, values)
        if int(deadline_at or 0) <= now:
            await self._stop(generation, "deadline")
        elif not queued:
            await self._queue.enqueue(generation, life_ms=_QUEUED_LIFE_MS)
        elif cancel_after and (not owner or int(lease_until or 0) <= now):
            asked_at = self._clock()
            unwatched, limit = await self._scripts.watch(generation)
            if self._clock() - asked_at > SLOW_S:
                # The server stood still, and with it the leases of all viewers.
                self._unsettle()
            if unwatched >= limit > 0 and self._clock() >= self._settled_at:
                await self._stop(generation, "unwatched")

    async def _stop(self, generation: str, reason: Any) -> None:
        if await self._jobs.cancel(generation, reason) == "cancelled":
            await self._ended(generation)
