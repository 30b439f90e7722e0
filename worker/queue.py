"""arq, bent to our needs and kept behind this module: design.md section 3 says what its stock behaviour would cost.

arq's keys, job format and health record; the loop is ours: one script takes any number of jobs, a doorbell stands in
for polling, and what becomes of a job is for the owner of its log to say. docs/adr/0006, docs/adr/0015.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from arq import func
from arq.connections import ArqRedis
from arq.worker import Worker
from redis.exceptions import RedisError

from broker.errors import LogUnavailable
from broker.keys import Keys
from broker.queue import TASK, JobQueue, job_from_bytes, job_to_bytes
from broker.redis import connect, text
from broker.tasks import end
from worker.generate import Busy, Done, HandedOver, Lost, Result

_log = logging.getLogger(__name__)

POLL_S = 0.25
"""The safety net below the doorbell, and what notices a lapsed lease."""
IDLE_POLL_S = 1.0
"""The same while nothing stands in the queue: nothing can lapse, and only a bell that was lost waits for it."""
_BATCH = 32
"""How many jobs are taken at once: the next worker gets its turn in between."""
_GATHER_S = 0.01
"""A full worker with a queue before it takes what became free within so long in one go."""
_BACK_OFF_S = 0.1
_MARGIN_S = 0.01
"""Leases and marks end by a clock of milliseconds: a look that comes too soon finds both."""
_LEAST_WAIT_MS = 20


class QueueWorker(Worker):
    """Takes jobs off the queue and runs them; what becomes of a job is for its :data:`Result` to say."""

    def __init__(
        self,
        url: str,
        keys: Keys,
        queue: JobQueue,
        run: Callable[[str], Awaitable[Result]],
        *,
        lease_s: float,
        max_jobs: int,
        trouble: Callable[[], None],
    ) -> None:
        self._keys = keys
        self._queue = queue
        self._run_generation = run
        self._lease_ms = int(lease_s * 1000)
        self._trouble = trouble
        self._freed = asyncio.Event()
        self._waits: set[asyncio.Task[None]] = set()
        pool = ArqRedis(
            connection_pool=connect(url, size=1).connection_pool,
            job_serializer=job_to_bytes,
            job_deserializer=job_from_bytes,
            default_queue_name=keys.queue,
        )
        self._bell = connect(url, size=1, timeout_s=IDLE_POLL_S + 5)
        super().__init__(
            [func(self._task, name=TASK)],
            redis_pool=pool,
            queue_name=keys.queue,
            health_check_key=keys.health,
            handle_signals=False,
            max_jobs=max_jobs,
            job_serializer=job_to_bytes,
            job_deserializer=job_from_bytes,
            log_results=False,
        )

    async def main(self) -> None:
        """Take what waits, and in between wait at the doorbell; trouble with Redis is waited out."""
        refresh = asyncio.get_running_loop().create_task(self._refresh())
        try:
            while True:
                try:
                    await self._poll_iteration()
                except (RedisError, OSError, LogUnavailable) as error:
                    _log.warning("queue interrupted: %s: %s", type(error).__name__, error)
                    self._trouble()
                    await asyncio.sleep(_BACK_OFF_S)
        finally:
            await end(refresh)

    async def _poll_iteration(self) -> None:
        """Take from the queue what there is room for, batch by batch; then wait for a reason to look again."""
        self._freed.clear()
        taken = None
        while (room := self._room) and (taken is None or taken.more):
            taken = await self._queue.take(min(room, _BATCH), hold_ms=self._lease_ms)
            self._start(taken.generations)
        await self.heart_beat()
        if self._room:
            await self._wait_at_the_door(IDLE_POLL_S if taken is not None and taken.standing == 0 else POLL_S)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await self._freed.wait()
        await asyncio.sleep(_GATHER_S)

    @property
    def _room(self) -> int:
        return self.max_jobs - self.job_counter if self.allow_pick_jobs else 0

    async def _wait_at_the_door(self, seconds: float) -> None:
        """Start jobs as their bells ring, until the next look is due."""
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        while self._room and (left := until - clock()) > 0:
            rung = await self._bell.blpop([self._keys.doorbell], timeout=left)
            if rung is None:
                return
            # Somebody stands in the queue now, whose lease may lapse.
            until = min(until, clock() + POLL_S)
            named = text(rung[1])
            if not self._room:
                await self._queue.ring(named)
            elif named not in self.tasks:
                self._start((await self._queue.take(1, hold_ms=self._lease_ms, named=named)).generations)

    def _start(self, generations: list[str]) -> None:
        for generation in generations:
            if generation in self.tasks:
                # Its mark has lapsed, for Redis was away: our lease is what counts, and _refresh will set it again.
                continue
            self.job_counter += 1
            task = self.loop.create_task(self.run_job(generation))
            self.tasks[generation] = task
            task.add_done_callback(partial(self._ended, generation))

    def _ended(self, generation: str, task: asyncio.Task[None]) -> None:
        del self.tasks[generation]
        self.job_counter -= 1
        self._freed.set()
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            _log.error("%s: left for later", generation, exc_info=error)

    async def _task(self, ctx: dict[str, Any], generation: str) -> Result:
        """The job as arq knows it."""
        del ctx
        return await self._run_generation(generation)

    async def run_job(self, job_id: str, score: int = 0) -> None:
        """Run one generation, and let its job go the way of its result."""
        del score
        try:
            result = await self._task(self.ctx, job_id)
        except LogUnavailable as error:
            # Not an error of the job: without a result it stays queued, and its mark lapses.
            _log.warning("%s: left for later: %s", job_id, error)
            return
        await self._let_go(job_id, result)

    async def _refresh(self) -> None:
        """Keep the marks of running jobs."""
        while True:
            await asyncio.sleep(self._lease_ms / 3000)
            if self.tasks:
                with contextlib.suppress(LogUnavailable):
                    await self._queue.hold(list(self.tasks), hold_ms=self._lease_ms)

    async def _let_go(self, generation: str, result: Result) -> None:
        """Clear arq's keys only for a log that has ended; a lapsed mark is what lets another worker in."""
        with contextlib.suppress(LogUnavailable):
            match result:
                case Done():
                    self.jobs_complete += 1
                    await self._queue.remove(generation)
                case Busy(wait_ms=wait_ms):
                    # No longer than a lease, lest others take it for a mark from before a leap of the clock.
                    wait_ms = max(wait_ms, _LEAST_WAIT_MS)
                    await self._queue.hold([generation], hold_ms=min(wait_ms, self._lease_ms))
                    self._come_back(generation, wait_ms / 1000 + _MARGIN_S)
                case HandedOver():
                    await self._queue.hand_back(generation)
                case Lost():
                    # The mark is the new owner's.
                    pass

    def _come_back(self, generation: str, wait_s: float) -> None:
        """Look again when the other owner's lease has lapsed, rather than with the poll after it."""

        async def ring() -> None:
            await asyncio.sleep(wait_s)
            with contextlib.suppress(LogUnavailable):
                await self._queue.ring(generation)

        task = asyncio.get_running_loop().create_task(ring())
        self._waits.add(task)
        task.add_done_callback(self._waits.discard)

    async def aclose(self) -> None:
        """Close the connections of the queue."""
        await end(*self.tasks.values(), *self._waits)
        with contextlib.suppress(RedisError, OSError):
            await self.pool.aclose(close_connection_pool=True)
            await self._bell.aclose()
