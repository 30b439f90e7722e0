"""JobStore: submit, the record, lists, cancel, delete. design.md decisions 1, 5 and 8."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass

import msgspec

from broker.errors import GenerationNotFound, IdempotencyConflict, LogUnavailable, QueueFull
from broker.events import Cancelled, created_head, event_to_json
from broker.keys import Keys
from broker.queue import JobQueue
from broker.record import Record
from broker.records import RecordStore, made_before, new_id
from broker.redis import Redis, text, unavailable
from broker.request import GenerationRequest
from broker.scripts import Creation, Scripts
from broker.settings import Settings
from broker.tasks import both
from broker.values import CancelReason

TOMBSTONE_MS = 24 * 3600 * 1000
"""How long the record outlives its log."""

_COMMIT_MS = 10_000
"""A submit takes no longer from its first step to its commit."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """The record as it stands, and whether an earlier submit with the same key had made it."""

    record: Record
    replayed: bool


def cancelled_head(reason: CancelReason) -> bytes:
    """The JSON of ``generation.cancelled`` up to its timing, for the scripts."""
    return ending_head(event_to_json(Cancelled(reason)))


def ending_head(event: bytes) -> bytes:
    """A terminal event's JSON without its timing, which is its last member and null, and without its closing brace."""
    tail = b',"timing":null}'
    if not event.endswith(tail):
        raise ValueError("a terminal event ends in its timing")
    return event[: -len(tail)]


def request_digest(request: GenerationRequest) -> str:
    """Equal for equal JSON values, whatever the order of members."""
    value = msgspec.json.encode(request.model_dump(mode="json", exclude_unset=True), order="sorted")
    return hashlib.sha256(value).hexdigest()


def life_ms(request: GenerationRequest, settings: Settings) -> int:
    """How long a generation may live with its log, in milliseconds from its submit on."""
    return int(request.deadline_s * 1000) + 2 * _retention_ms(request, settings)


def _retention_ms(request: GenerationRequest, settings: Settings) -> int:
    return (request.retention_s or settings.retention_s) * 1000


class JobStore:
    """The generations on one Redis server. Every method raises ``LogUnavailable`` when Redis is away."""

    def __init__(
        self, redis: Redis, keys: Keys, scripts: Scripts, queue: JobQueue, records: RecordStore, settings: Settings
    ) -> None:
        self._redis = redis
        self._records = records
        self._keys = keys
        self._scripts = scripts
        self._queue = queue
        self._settings = settings

    async def submit(
        self,
        request: GenerationRequest,
        *,
        tenant: str,
        idempotency_key: str | None = None,
        retry: int | None = None,
    ) -> Submitted:
        """Reserve the key, note the id, commit, enqueue: each step idempotent by the id (decision 5).

        ``retry``: for callers without a key who say how often they have tried before, see :meth:`_known_try`.

        Raises:
            IdempotencyConflict: the key was used with another body.
            QueueFull: ``max_queue`` generations wait already.
        """
        now = await self.now_ms()
        generation = new_id(now)
        replayed = False
        idempotency = ""
        if idempotency_key is not None:
            idempotency = self._keys.idempotency(tenant, idempotency_key)
            owner = await self._reserve(idempotency, generation, request)
            replayed, generation = owner != generation, owner
        elif retry is not None and self._settings.retry_join_s:
            replayed, generation = await self._known_try(tenant, request, generation, retry, now)
        if replayed and (known := await self._records.find(generation)):
            return Submitted(known, replayed=True)
        try:
            await self._commit(generation, request, tenant, idempotency, now)
        except QueueFull:
            # Unless somebody with the same key has committed it in the meantime.
            if not replayed and idempotency and await self._records.find(generation) is None:
                await self._forget(idempotency, generation)
            raise
        # Committed: what can't be queued at this moment, the sweeper will queue. It is told once more, in case the
        # server was emptied since it was told first.
        with contextlib.suppress(LogUnavailable):
            await both(
                self._activate(generation), self._queue.enqueue(generation, life_ms=life_ms(request, self._settings))
            )
        return Submitted(await self._records.get(generation, tenant=tenant), replayed=replayed)

    async def _reserve(self, name: str, generation: str, request: GenerationRequest) -> str:
        digest = request_digest(request)
        life = life_ms(request, self._settings) + TOMBSTONE_MS
        with unavailable():
            for _ in range(8):
                if await self._redis.set(name, f"{generation}\n{digest}", nx=True, px=life):
                    return generation
                held = await self._redis.get(name)
                if held is not None:
                    owner, _, known = text(held).partition("\n")
                    if known != digest:
                        raise IdempotencyConflict(field="Idempotency-Key")
                    return owner
        raise LogUnavailable("the idempotency key could not be reserved")

    async def _known_try(
        self, tenant: str, request: GenerationRequest, generation: str, retry: int, now: int
    ) -> tuple[bool, str]:
        """Whether an earlier try of the same POST has made a generation that this one may have, and its id, else ours.

        A first try is always new: two users may say the same. A later one joins what the last try of the same body made
        while that runs, or if it was completed less than ``retry_join_s`` ago.
        """
        name = self._keys.retry(tenant, request_digest(request))
        if retry > 0:
            with unavailable():
                owner = text(await self._redis.get(name))
            if owner and self._still_wanted(owner, await self._records.find(owner), now):
                return True, owner
        with unavailable():
            await self._redis.set(name, generation, px=life_ms(request, self._settings))
        return False, generation

    def _still_wanted(self, generation: str, record: Record | None, now: int) -> bool:
        if record is None:
            # Its commit is under way, and both commit the same; or it has been deleted.
            return not made_before(generation, now - _COMMIT_MS)
        if not record.ended:
            return True
        ended_ms = (record.finished_at or 0) * 1000
        return record.status == "completed" and now - ended_ms <= self._settings.retry_join_s * 1000

    async def _forget(self, name: str, generation: str) -> None:
        with unavailable():
            if text(await self._redis.get(name)).startswith(f"{generation}\n"):
                await self._redis.delete(name)

    async def _commit(
        self, generation: str, request: GenerationRequest, tenant: str, idempotency: str, now: int
    ) -> None:
        if await self._queue.length() >= self._settings.max_queue:
            raise QueueFull
        await both(self._activate(generation), self._records.note(generation, tenant, now))
        metadata = request.metadata or {}
        policy = request.on_disconnect
        creation = Creation(
            tenant=tenant,
            model=request.model,
            metadata=msgspec.json.encode(metadata),
            head=created_head(generation, request.model, metadata),
            request=request.model_dump_json(exclude_unset=True).encode(),
            deadline_ms=int(request.deadline_s * 1000),
            retention_ms=_retention_ms(request, self._settings),
            tombstone_ms=TOMBSTONE_MS,
            on_worker_loss=request.on_worker_loss,
            cancel_after_ms=None if policy == "continue" else int(policy.cancel_after_s * 1000),
            idempotency=idempotency,
        )
        await self._scripts.create(generation, creation)

    async def _activate(self, generation: str) -> None:
        """Tell the sweeper of it."""
        with unavailable():
            await self._redis.zadd(self._keys.active, {generation: 0}, nx=True)

    async def now_ms(self) -> int:
        """The clock of Redis, in milliseconds."""
        with unavailable():
            seconds, micros = await self._redis.time()
        return int(seconds) * 1000 + int(micros) // 1000

    async def cancel(self, generation: str, reason: CancelReason) -> str:
        """Ask for the end: ``gone``, ``ended`` (before), ``asked`` (its worker ends it) or ``cancelled`` (just now)."""
        outcome = await self._scripts.cancel(generation, reason, cancelled_head(reason))
        if outcome == "left":
            # The job stays for a worker, which finds the log ended and stops what is still made upstream.
            await self._queue.hand_back(generation)
            return "cancelled"
        if outcome == "cancelled":
            await self._queue.remove(generation)
        return outcome

    async def delete(self, generation: str, *, tenant: str) -> str:
        """End and erase; frees the idempotency key. Raises ``GenerationNotFound``."""
        await self._records.get(generation, tenant=tenant)
        with unavailable():
            idempotency = text(await self._redis.hget(self._keys.job(generation), "idempotency"))
        # The key first: a submit that comes in between makes a generation of its own.
        if idempotency:
            await self._forget(idempotency, generation)
        outcome = await self._scripts.delete(generation, cancelled_head("deleted"))
        if outcome == "gone":
            raise GenerationNotFound
        await self._records.forget(generation, tenant)
        await self._queue.remove(generation)
        return outcome
