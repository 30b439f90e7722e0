"""arq, bent to our needs and kept behind this module: design.md section 3 says what its stock behaviour would cost.

A doorbell instead of polling, a busy filter, an in-progress key that lives as long as the lease, survival of Redis
trouble, and an end of job that only the log's owner may declare.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from arq import func
from arq.connections import ArqRedis
from arq.worker import Worker
from redis.exceptions import RedisError

from broker.errors import LogUnavailable
from broker.keys import ARQ_IN_PROGRESS, Keys
from broker.queue import TASK, JobQueue, job_from_bytes, job_to_bytes
from broker.redis import SafePipelines, connect, text
from broker.request import MAX_DEADLINE_S
from broker.tasks import end
from worker.generate import Busy, Done, HandedOver, Lost, Result

_log = logging.getLogger(__name__)

POLL_S = 0.25
"""The safety net below the doorbell, and what notices a lapsed lease."""
_READ_LIMIT = 10_000
_BACK_OFF_S = 0.1
_MARGIN_S = 0.01
"""Leases and marks end by a clock of milliseconds: a look that comes too soon finds both."""
_ENDLESS = 1_000_000_000


class _ArqRedis(SafePipelines, ArqRedis):
    """arq's client on our pool: it watches keys, and a connection that hangs in that must not be lost."""


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
        self._results: dict[str, Result] = {}
        self._held: dict[str, float] = {}
        self._waits: set[asyncio.Task[None]] = set()
        pool = _ArqRedis(
            connection_pool=connect(url).connection_pool,
            job_serializer=job_to_bytes,
            job_deserializer=job_from_bytes,
            default_queue_name=keys.queue,
        )
        self._bell = connect(url, size=1, timeout_s=POLL_S + 5)
        super().__init__(
            [func(self._task, name=TASK)],
            redis_pool=pool,
            queue_name=keys.queue,
            health_check_key=keys.health,
            handle_signals=False,
            max_jobs=max_jobs,
            max_tries=_ENDLESS,
            job_timeout=2 * MAX_DEADLINE_S,
            keep_result=0,
            poll_delay=POLL_S,
            queue_read_limit=_READ_LIMIT,
            job_serializer=job_to_bytes,
            job_deserializer=job_from_bytes,
            log_results=False,
        )
        self.in_progress_timeout_s = lease_s

    async def main(self) -> None:
        """Poll, and in between wait at the doorbell; trouble with Redis is waited out."""
        refresh = asyncio.get_running_loop().create_task(self._refresh())
        try:
            while True:
                try:
                    await self._poll_iteration()
                    await self._wait_at_the_door()
                except (RedisError, OSError, LogUnavailable) as error:
                    _log.warning("queue interrupted: %s: %s", type(error).__name__, error)
                    self._trouble()
                    await asyncio.sleep(_BACK_OFF_S)
        finally:
            await end(refresh)

    async def _wait_at_the_door(self) -> None:
        """Start jobs as their bells ring, until the next poll is due."""
        clock = asyncio.get_running_loop().time
        until = clock() + POLL_S
        while (left := until - clock()) > 0:
            if not self.allow_pick_jobs or self.job_counter >= self.max_jobs:
                await asyncio.sleep(left)
                return
            rung = await self._bell.blpop([self._keys.doorbell], timeout=left)
            if rung is None:
                return
            await self.start_jobs([rung[1]])

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Start those that nobody runs: one read for all, so that busy ids at the head of the queue cost nothing."""
        mine = [job_id for job_id in job_ids if not self._runs(text(job_id))]
        if not mine:
            return
        busy = await self.pool.mget([ARQ_IN_PROGRESS + text(job_id) for job_id in mine])
        await super().start_jobs([job_id for job_id, mark in zip(mine, busy, strict=True) if mark is None])

    def _runs(self, job_id: str) -> bool:
        # arq forgets tasks that have ended only with its next poll.
        task = self.tasks.get(job_id)
        return task is not None and not task.done()

    async def _task(self, ctx: dict[str, Any], generation: str) -> None:
        self._held[ctx["job_id"]] = 0.0
        try:
            self._results[ctx["job_id"]] = await self._run_generation(generation)
        except LogUnavailable as error:
            # Not an error of the job: without a result it stays queued, and its mark lapses.
            _log.warning("%s: left for later: %s", generation, error)
        finally:
            self._held.pop(ctx["job_id"], None)

    async def _refresh(self) -> None:
        """Keep the in-progress keys of running jobs alive: hints, for the lease in the log is what counts."""
        while True:
            await asyncio.sleep(self._lease_ms / 3000)
            if self._held:
                with contextlib.suppress(RedisError, OSError):
                    pipe = self.pool.pipeline(transaction=False)
                    for job_id in self._held:
                        pipe.psetex(ARQ_IN_PROGRESS + job_id, self._lease_ms, b"1")
                    await pipe.execute()

    async def finish_job(self, job_id: str, *args: Any, **kwargs: Any) -> None:
        """Clear arq's keys only for a log that has ended; a lapsed key is what lets another worker in."""
        result = self._results.pop(job_id, None)
        with contextlib.suppress(RedisError, OSError, LogUnavailable):
            match result:
                case Done():
                    await super().finish_job(job_id, *args, **kwargs)
                case Busy(wait_ms=wait_ms):
                    await self.pool.psetex(ARQ_IN_PROGRESS + job_id, max(wait_ms, 20), b"1")
                    self._come_back(job_id, max(wait_ms, 20) / 1000 + _MARGIN_S)
                case HandedOver():
                    await self._queue.hand_back(job_id)
                case Lost() | None:
                    # The new owner's keys, or a job whose claim failed: its mark lapses by itself.
                    pass

    def _come_back(self, job_id: str, wait_s: float) -> None:
        """Look again when the other owner's lease has lapsed, rather than with the poll after it."""

        async def ring() -> None:
            await asyncio.sleep(wait_s)
            with contextlib.suppress(LogUnavailable):
                await self._queue.ring(job_id)

        task = asyncio.get_running_loop().create_task(ring())
        self._waits.add(task)
        task.add_done_callback(self._waits.discard)

    async def aclose(self) -> None:
        """Close the connections of the queue."""
        await end(*self.tasks.values(), *self._waits)
        with contextlib.suppress(RedisError, OSError):
            await self.pool.aclose(close_connection_pool=True)
            await self._bell.aclose()
