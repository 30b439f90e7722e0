"""A broker's parts on any server, and a writer that does what it is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from broker.events import Completed, Event, Started, TextDelta, encode_entry, event_to_json
from broker.jobs import JobStore, ending_head
from broker.keys import Keys
from broker.log import StreamLog
from broker.position import START
from broker.queue import JobQueue
from broker.records import RecordStore
from broker.redis import Redis
from broker.request import GenerationRequest
from broker.scripts import AppendReply, Claim, Ending, Fence, Refusal, Scripts
from broker.settings import Settings

LEASE_MS = 60_000
LOST = (
    b'{"type":"generation.failed","error":{"code":"worker_lost","message":"lost"}',
    b'{"code":"worker_lost","message":"lost"}',
)


@dataclass
class Store:
    """Everything below the door."""

    redis: Redis
    keys: Keys
    scripts: Scripts
    log: StreamLog
    queue: JobQueue
    records: RecordStore
    jobs: JobStore

    @classmethod
    def on(cls, redis: Redis, settings: Settings) -> Store:
        """The parts on this client."""
        keys = Keys(settings.key_prefix)
        scripts = Scripts(redis, keys)
        queue = JobQueue(redis, keys)
        records = RecordStore(redis, keys)
        jobs = JobStore(redis, keys, scripts, queue, records, settings)
        return cls(redis, keys, scripts, StreamLog(redis, keys, scripts), queue, records, jobs)

    @property
    def raw(self) -> Any:
        """The client with all of its commands."""
        return cast("Any", self.redis)

    async def submit(self, **fields: Any) -> str:
        """A committed, queued generation."""
        wanted = GenerationRequest.model_validate({"model": "demo/demo-1", "input": "x", **fields})
        return (await self.jobs.submit(wanted, tenant="default")).record.id

    async def claim(self, generation: str, owner: str = "a", **values: Any) -> Claim | Refusal:
        """A claim with a long lease by somebody whose connections are whole."""
        given: dict[str, Any] = {"lease_ms": LEASE_MS, "max_attempts": 3, "whole_ms": 10 * LEASE_MS, "lost": LOST}
        return await self.log.claim(generation, owner, **{**given, **values})

    async def own(self, generation: str, owner: str = "a") -> Writer:
        """The writer of a claim that must be granted."""
        claim = await self.claim(generation, owner)
        assert isinstance(claim, Claim)
        return Writer(self, generation, Fence(owner, claim.epoch), claim.top.seq + 1)

    async def lapse(self, generation: str) -> None:
        """Let the lease have run out."""
        await self.raw.hset(self.keys.job(generation), "lease_until", "1")

    async def rows(self, generation: str) -> list[tuple[str, Event]]:
        """The whole log."""
        page, _ = await self.log.page(generation, START, limit=10_000)
        return [(str(entry.position), entry.event) for entry in page.entries]

    async def hash(self, generation: str) -> dict[str, str]:
        """The job hash."""
        raw = await self.raw.hgetall(self.keys.job(generation))
        return {key.decode(): value.decode() for key, value in raw.items()}


@dataclass
class Writer:
    """Appends what it is told, and nothing else."""

    store: Store
    generation: str
    fence: Fence
    next_seq: int

    async def append(self, *events: Event, first: int | None = None, **values: Any) -> AppendReply:
        """Append; goes on behind these when they were taken."""
        at = self.next_seq if first is None else first
        rows = [encode_entry(event) for event in events]
        reply = await self.store.log.append(self.generation, self.fence, at, rows, lease_ms=LEASE_MS, **values)
        if reply.kind == "ok":
            self.next_seq = max(self.next_seq, at + len(rows))
        return reply

    async def begin(self, attempt: int = 1) -> AppendReply:
        """Say that the attempt has started."""
        return await self.append(Started(attempt, "restart", "demo", "demo-1"), started=f"restart {attempt}")

    async def say(self, *texts: str) -> AppendReply:
        """Append text, one entry each."""
        return await self.append(*(TextDelta(0, text) for text in texts), first_token=True)

    async def end(self, *texts: str, first: int | None = None) -> AppendReply:
        """Complete the answer with these last words."""
        head = ending_head(event_to_json(Completed("stop")))
        ending = Ending("completed", head, output_tokens=7, usage=b'{"output_tokens":7}', finish_reason="stop")
        rows = [encode_entry(TextDelta(0, text)) for text in texts]
        at = self.next_seq if first is None else first
        return await self.store.log.end(self.generation, self.fence, at, rows, ending)
