"""The door of the broker, in memory: what ``api`` relies on, without Redis.

What it does is what the contract says of the real one, and the integration tests run the same routes on that.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Sequence
from typing import Literal

import msgspec

from broker.answer import Answer
from broker.errors import (
    GenerationNotFound,
    IdempotencyConflict,
    InvalidRequest,
    LogExpired,
    LogLost,
    LogUnavailable,
    QueueFull,
)
from broker.events import Cancelled, Created, Entry, Event
from broker.merge import merge_entries
from broker.position import START, Position
from broker.record import Record, Status, created_record
from broker.request import GenerationRequest, StoredRequest
from broker.stats import FleetStats
from broker.submission import Submission
from broker.tail_items import Batch, Live, Reset, TailItem, Turn, Viewer
from tests.api.fake_chats import FakeChats
from tests.api.fake_log import EPOCH, FakePage, FakeStat, FakeSubmitted, Log, advance, fleet_of, taken


class FakeDoor:
    """A broker whose worker is the test: it says what is appended, and when Redis is away."""

    def __init__(self) -> None:
        self.logs: dict[str, Log] = {}
        self.requests: list[GenerationRequest] = []
        self.retries: list[int | None] = []
        """Of each submit, which try it said it was."""
        self.asked: dict[str, StoredRequest] = {}
        """What was asked for, of generations that were submitted."""
        self.chats = FakeChats(self._reach)
        self.says: Sequence[Event] = ()
        """What every generation that is submitted says at once."""
        self.away = False
        self.queue_full = False
        self.stuck = False
        """Redis neither answers nor refuses."""
        self.obeys_cancel = True
        """Whether a cancel ends the generation at once."""
        self.surprise: Exception | None = None
        """What every call raises."""
        self.hold_s = 30.0
        self.tail_error: Exception | None = None
        """What every tail raises."""
        self.ends_early = False
        """Tails end when there is nothing more to read: a mistake that the real one must not make."""
        self.reading = 0
        """Tails open now."""
        self.waiting = 0
        """Long polls open now."""
        self.back = asyncio.Event()
        self._keys: dict[tuple[str, str], tuple[str, bytes]] = {}
        self._numbers = itertools.count(1)

    # -- what a test does to it -----------------------------------------------------------------------------------

    def create(self, *events: Event, tenant: str = "default", model: str = "demo/demo-1") -> str:
        """A generation with ``generation.created`` and these events."""
        generation = f"gen_{next(self._numbers):028d}"
        record = created_record(generation, model, EPOCH, {})
        first = Entry(Position(EPOCH, 1), Created(record.to_dict()))
        self.logs[generation] = Log(tenant, record, [first])
        self.append(generation, *events)
        return generation

    def append(self, generation: str, *events: Event, epoch: int = EPOCH) -> None:
        """Append as a worker would; readers are told."""
        log = self.logs[generation]
        for event in events:
            log.entries.append(Entry(Position(epoch, log.top.seq + 1), event))
            log.record = advance(log.record, event, log.top)
        self._tell(log)

    def lose(self, generation: str) -> None:
        """The log is gone from Redis (FLUSHALL)."""
        log = self.logs.pop(generation)
        log.lost = True
        self._tell(log)

    def expire(self, generation: str) -> None:
        """The log has passed its retention; the record stays."""
        self.logs[generation].expired = True

    def come_back(self) -> None:
        """Redis can be reached again."""
        self.away = self.stuck = False
        self.back.set()

    def _tell(self, log: Log) -> None:
        log.changed.set()
        log.changed = asyncio.Event()

    # -- the door -------------------------------------------------------------------------------------------------

    async def submit(
        self,
        request: GenerationRequest,
        *,
        tenant: str = "default",
        idempotency_key: str | None = None,
        retry: int | None = None,
    ) -> FakeSubmitted:
        """See ``broker.client.Broker``."""
        self.retries.append(retry)
        await self._reach()
        value = request.model_dump_json().encode()
        if idempotency_key is not None:
            known = self._keys.get((tenant, idempotency_key))
            if known is not None:
                if known[1] != value:
                    raise IdempotencyConflict
                return FakeSubmitted(self.logs[known[0]].record, replayed=True)
        if self.queue_full:
            raise QueueFull
        self.requests.append(request)
        generation = self.create(tenant=tenant, model=request.model)
        self.append(generation, *self.says)
        self.asked[generation] = StoredRequest.model_validate(request.model_dump(exclude_unset=True))
        if idempotency_key is not None:
            self._keys[tenant, idempotency_key] = (generation, value)
        return FakeSubmitted(self.logs[generation].record, replayed=False)

    async def get(self, generation: str, *, tenant: str = "default", output: bool = True) -> Record:
        """See ``broker.client.Broker``."""
        await self._reach()
        log = self._find(generation, tenant)
        if not output or log.expired:
            return msgspec.structs.replace(log.record, output=None)
        return msgspec.structs.replace(log.record, output=log.output())

    async def answer(self, generation: str, *, tenant: str = "default") -> Answer:
        """See ``broker.client.Broker``."""
        submission = await self.submission(generation, tenant=tenant)
        log = self._find(generation, tenant)
        if log.expired:
            raise LogExpired
        return log.answer(submission)

    async def wait(self, generation: str, timeout_s: float, *, tenant: str = "default", output: bool = True) -> Record:
        """See ``broker.client.Broker``."""
        await self._reach()
        log = self._find(generation, tenant)
        self.waiting += 1
        try:
            async with asyncio.timeout(timeout_s):
                while not log.ended and not log.lost:
                    await log.changed.wait()
        except TimeoutError:
            pass
        finally:
            self.waiting -= 1
        return await self.get(generation, tenant=tenant, output=output)

    async def list(
        self, *, tenant: str = "default", status: Status | None = None, limit: int = 20, cursor: str | None = None
    ) -> FakePage:
        """See ``broker.client.Broker``."""
        await self._reach()
        if cursor is not None and not cursor.startswith("gen_"):
            raise InvalidRequest("this cursor is none of ours", field="cursor")
        records = [
            msgspec.structs.replace(log.record, output=None)
            for _, log in sorted(self.logs.items(), reverse=True)
            if log.tenant == tenant and status in (None, log.record.status)
        ]
        rest = [record for record in records if cursor is None or record.id < cursor]
        return FakePage(rest[:limit], rest[limit - 1].id if len(rest) > limit else None)

    async def cancel(self, generation: str, *, tenant: str = "default") -> Record:
        """See ``broker.client.Broker``."""
        await self._reach()
        log = self._find(generation, tenant)
        if self.obeys_cancel and not log.ended:
            self.append(generation, Cancelled("client"))
        return await self.get(generation, tenant=tenant)

    async def delete(self, generation: str, *, tenant: str = "default") -> None:
        """See ``broker.client.Broker``."""
        await self._reach()
        log = self._find(generation, tenant)
        if not log.ended:
            self.append(generation, Cancelled("deleted"))
        del self.logs[generation]

    async def stat(self, generation: str, *, tenant: str = "default") -> FakeStat:
        """See ``broker.client.Broker``."""
        await self._reach()
        log = self._find(generation, tenant)
        if log.expired:
            raise LogExpired
        return FakeStat(log.top, log.ended, log.restart)

    async def submission(self, generation: str, *, tenant: str = "default") -> Submission:
        """See ``broker.client.Broker``."""
        await self._reach()
        record = self._find(generation, tenant).record
        return Submission(generation, record.model, record.created_at, record.metadata, self.asked.get(generation))

    async def prefix(self, generation: str, last: Position) -> AsyncGenerator[Batch, None]:
        """See ``broker.client.Broker``."""
        await self._reach()
        yield Batch([one for one in self.logs[generation].entries if one.position.seq <= last.seq], live=False)

    async def tail(
        self,
        generation: str,
        after: Position = START,
        *,
        tenant: str = "default",
        replay: Literal["merged", "exact"] = "merged",
        hold_s: float | None = None,
        viewer: Viewer | None = None,
        turn: Turn | None = None,
        stat: object = None,
    ) -> AsyncGenerator[TailItem, None]:
        """See ``broker.client.Broker``."""
        self.reading += 1
        try:
            log = await self._held(generation, tenant, hold_s)
            seq = next((entry.position.seq for entry in log.entries if entry.position == after), 0)
            if after != START and not seq:
                yield Reset("position_not_in_log")
            live = False
            while True:
                fresh = log.entries[seq:]
                seq += len(fresh)
                if fresh:
                    entries = fresh if live or replay == "exact" else merge_entries(fresh)
                    batch = Batch(entries, live=live, ended=log.ended and seq == len(log.entries))
                    if not taken(viewer, batch):
                        yield batch
                if log.ended and seq == len(log.entries):
                    return
                if not live:
                    live = True
                    yield Live()
                if self.ends_early:
                    return
                if seq == len(log.entries) and not log.lost:
                    await log.changed.wait()
                if log.lost:
                    raise LogLost
        finally:
            self.reading -= 1

    async def ping(self) -> None:
        """See ``broker.client.Broker``."""
        await self._reach()

    async def fleet_stats(self) -> FleetStats:
        """See ``broker.client.Broker``."""
        await self._reach()
        return fleet_of(self.logs.values())

    async def _held(self, generation: str, tenant: str, hold_s: float | None) -> Log:
        try:
            async with asyncio.timeout(self.hold_s if hold_s is None else hold_s):
                while self.away or self.stuck:
                    await self.back.wait()
        except TimeoutError:
            raise LogUnavailable from None
        for error in (self.surprise, self.tail_error):
            if error is not None:
                raise error
        log = self._find(generation, tenant)
        if log.expired:
            raise LogExpired
        return log

    async def _reach(self) -> None:
        if self.stuck:
            await self.back.wait()
        if self.surprise is not None:
            raise self.surprise
        if self.away:
            raise LogUnavailable

    def _find(self, generation: str, tenant: str) -> Log:
        log = self.logs.get(generation)
        if log is None or log.tenant != tenant:
            raise GenerationNotFound
        return log
