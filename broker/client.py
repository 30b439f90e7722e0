"""The one door to the broker, and the public library API: submit, get, wait, list, cancel, delete, tail."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Any, Literal, Self

import msgspec

from broker.answer import Answer
from broker.chats import Chats
from broker.content import ContentFold
from broker.errors import LogExpired, RejoinderError
from broker.feed import DirectFeed, Feed, Listener, NoFeed, PlainFeed
from broker.fold import OutputFold
from broker.hub import Hub
from broker.jobs import JobStore, Submitted
from broker.keys import Keys
from broker.lane import Lane
from broker.lane_client import lane_client
from broker.log import Stat, StreamLog, existing
from broker.pages import Pages
from broker.position import START, Position, parse_position
from broker.queue import JobQueue
from broker.record import Output, Record, Status
from broker.records import RecordPage, RecordStore
from broker.redis import Redis, connect
from broker.request import GenerationRequest
from broker.safety import Safety
from broker.scripts import Scripts
from broker.server_check import check
from broker.settings import Settings
from broker.stats import FleetCounters, FleetStats
from broker.submission import Submission
from broker.sweeper import Sweeper
from broker.tail import Tail
from broker.tail_items import Batch, TailItem, Turn, Viewer
from broker.tasks import end
from broker.values import CancelReason


class Broker:
    """Async context manager: opens its connections on entry, sweeps while open, closes all on exit.

    Every method raises :class:`broker.errors.LogUnavailable` when Redis is away. ``tenant`` mismatch is
    ``GenerationNotFound``: nobody learns of another tenant's generations.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keys = Keys(settings.key_prefix)
        self.node = settings.node_name or f"{socket.gethostname()}-{os.getpid()}"
        self.redis, self.lane = _commands(settings)
        self.queue_redis = connect(settings.queue_url) if settings.queue_url else self.redis
        self._patient = connect(settings.redis_url, size=1)
        self.scripts = Scripts(self.redis, self.keys, Safety.of(settings), patient=self._patient, lane=self.lane)
        self.log = StreamLog(self.redis, self.keys, self.scripts)
        self.pages = Pages(self.log, settings.page_cache_bytes)
        self.queue = JobQueue(self.queue_redis, self.keys)
        self.records = RecordStore(self.redis, self.keys)
        self.jobs = JobStore(self.redis, self.keys, self.scripts, self.queue, self.records, settings)
        self.chats = Chats(self.redis, self.keys)
        self.counters = FleetCounters(self.redis, self.keys)
        self.hub = Hub(self._feed, self.keys, self.log, self.scripts, self.node, notices=settings.live != "poll")
        self.sweeper = Sweeper(
            self.redis, self.keys, self.scripts, self.queue, self.jobs, self.count_ended, f"{self.node}-{id(self)}"
        )
        self._stack = contextlib.AsyncExitStack()

    def _feed(self, listener: Listener) -> Feed:
        live = self.settings.live
        if live == "poll":
            return NoFeed(listener)
        kind = DirectFeed if live == "direct" else PlainFeed
        return kind(connect(self.settings.redis_url, size=1, retries=0), listener)

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self.redis.aclose)
            stack.push_async_callback(self._patient.aclose)
            if self.queue_redis is not self.redis:
                stack.push_async_callback(self.queue_redis.aclose)
            await stack.enter_async_context(self.hub)
            sweep = asyncio.get_running_loop().create_task(self.sweeper.run())
            stack.push_async_callback(end, sweep)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def submit(
        self,
        request: GenerationRequest,
        *,
        tenant: str = "default",
        idempotency_key: str | None = None,
        retry: int | None = None,
    ) -> Submitted:
        """Commit a generation and queue it: :meth:`broker.jobs.JobStore.submit`."""
        submitted = await self.jobs.submit(request, tenant=tenant, idempotency_key=idempotency_key, retry=retry)
        return Submitted(await self._with_output(submitted.record), submitted.replayed)

    async def get(self, generation: str, *, tenant: str = "default", output: bool = True) -> Record:
        """The record; its output is null once the log has expired, or when it is not asked for."""
        record = await self.records.get(generation, tenant=tenant)
        return await self._with_output(record) if output else record

    async def _with_output(self, record: Record) -> Record:
        try:
            output = await self._fold(record)
        except LogExpired:
            output = None
        return msgspec.structs.replace(record, output=output)

    async def _fold(self, record: Record) -> Output:
        """The answer as it stood when the record was read: up to its last event, no further."""
        fold = OutputFold()
        async for entries in self.log.entries(record.id, START, parse_position(record.last_event_id)):
            for entry in entries:
                fold.apply(entry.event)
        return fold.output()

    async def answer(self, generation: str, *, tenant: str = "default") -> Answer:
        """What was asked and the answer so far. Raises ``LogExpired`` once only the record is left."""
        record = await self.records.get(generation, tenant=tenant)
        submission = await self.records.submission(generation, tenant=tenant)
        fold = ContentFold()
        async for entries in self.log.entries(generation, START, parse_position(record.last_event_id)):
            for entry in entries:
                fold.apply(entry.event)
        return Answer(submission, record, fold.blocks(), fold.provider, fold.attempt, fold.terminal)

    async def wait(self, generation: str, timeout_s: float, *, tenant: str = "default", output: bool = True) -> Record:
        """The record as soon as the generation has ended, or as it stands after ``timeout_s``. Counts as a viewer."""
        record = await self.get(generation, tenant=tenant, output=False)
        if not record.ended and record.last_event_id:
            after = parse_position(record.last_event_id)
            with contextlib.suppress(TimeoutError, RejoinderError):
                async with asyncio.timeout(timeout_s):
                    async with aclosing(self.tail(generation, after, tenant=tenant)) as items:
                        async for _ in items:
                            pass
        return await self.get(generation, tenant=tenant, output=output)

    async def list(
        self,
        *,
        tenant: str = "default",
        status: Status | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> RecordPage:
        """A tenant's records, newest first, without outputs. Raises ``InvalidRequest`` for a bad cursor."""
        return await self.records.list(tenant=tenant, status=status, limit=limit, cursor=cursor)

    async def cancel(self, generation: str, *, tenant: str = "default", reason: CancelReason = "client") -> Record:
        """Ask for the end, wherever the generation runs; where nobody runs it, it has ended on return."""
        await self.records.get(generation, tenant=tenant)
        if await self.jobs.cancel(generation, reason) == "cancelled":
            await self.count_ended(generation)
        return await self.get(generation, tenant=tenant)

    async def delete(self, generation: str, *, tenant: str = "default") -> None:
        """End it if it runs, tell its viewers, erase it."""
        record = await self.records.get(generation, tenant=tenant)
        if await self.jobs.delete(generation, tenant=tenant) == "cancelled":
            await self.counters.ended(msgspec.structs.replace(record, status="cancelled"))

    async def count_ended(self, generation: str, *, kept: bool = True) -> None:
        """Add a generation that this process has ended to the fleet's counters; ``kept``: as safely as configured."""
        record = await self.records.find(generation)
        if record is not None and record.ended:
            await self.counters.ended(record, kept=kept)

    async def stat(self, generation: str, *, tenant: str = "default") -> Stat:
        """How the log stands. Raises ``LogExpired`` when only the record is left, ``GenerationNotFound`` for a loss."""
        return existing(await self.log.stat(generation, tenant=tenant))

    def tail(
        self,
        generation: str,
        after: Position = START,
        *,
        tenant: str = "default",
        replay: Literal["merged", "exact"] = "merged",
        hold_s: float | None = None,
        viewer: Viewer | None = None,
        turn: Turn | None = None,
        stat: Stat | None = None,
    ) -> AsyncGenerator[TailItem, None]:
        """Everything after a position, replayed and then live: :class:`broker.tail.Tail`.

        A ``viewer`` is handed live entries directly where it can take them; they are not among the items then.
        ``turn`` = pages are read by turns, with other readers, and nothing is held between them.
        ``stat`` = what :meth:`stat` has just answered this reader: it is not asked again.
        """
        hold = self.settings.hold_s if hold_s is None else hold_s
        how: dict[str, Any] = {"tenant": tenant, "replay": replay, "hold_s": hold, "viewer": viewer, "stat": stat}
        return Tail(self.log, self.pages, self.hub, generation, after, turn=turn, **how).items()

    async def submission(self, generation: str, *, tenant: str = "default") -> Submission:
        """What was asked for; without its request once the log has expired."""
        return await self.records.submission(generation, tenant=tenant)

    async def prefix(self, generation: str, last: Position) -> AsyncGenerator[Batch, None]:
        """The log from its start on, at least up to ``last``, as exact pages that readers share.

        Only for who has been shown by :meth:`stat` or :meth:`tail` that the log is his.
        """
        position = START
        while position.seq < last.seq:
            page = await self.pages.read(generation, position, merge=False)
            if page.kind != "entries" or not page.batch.entries:
                return
            yield page.batch
            position = page.last

    async def ping(self) -> None:
        """Return if both servers answer and may be used. Raises ``UnfitServer`` for one that would lose answers."""
        await check(self.redis, wait_aof=self.settings.wait_aof)
        if self.queue_redis is not self.redis:
            await check(self.queue_redis)

    async def queue_length(self) -> int:
        """Jobs that wait or run."""
        return await self.queue.length()

    async def now_ms(self) -> int:
        """The clock of Redis, in milliseconds."""
        return await self.jobs.now_ms()

    async def fleet_stats(self) -> FleetStats:
        """Counters of the whole fleet."""
        return await self.counters.read()


def _commands(settings: Settings) -> tuple[Redis, Lane | None]:
    """The client for all commands, and the lane that it goes over, if any."""
    return lane_client(settings.redis_url) if settings.live == "direct" else (connect(settings.redis_url), None)
