"""RecordStore: records and lists, read from the job hashes without touching a log. design.md decision 1."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from broker.errors import GenerationNotFound, InvalidRequest
from broker.keys import Keys
from broker.record import ENDED, Record, Status, links
from broker.redis import Redis, text, unavailable
from broker.request import StoredRequest
from broker.submission import Submission
from broker.values import ErrorInfo, Timing, Usage

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID = re.compile(r"gen_[0-9A-Za-z]{28}", re.ASCII)
_TIME_DIGITS = 8
_INDEX_LIFE_MS = 33 * 24 * 3600 * 1000
"""A list forgets what is older than the longest deadline, retention and tombstone together."""
_FIELDS = (
    *("tenant", "status", "model", "metadata", "created_at", "started_at", "first_token_at", "finished_at", "attempt"),
    *("top", "seq", "usage", "timing", "error", "finish_reason"),
)


@dataclass(frozen=True, slots=True)
class RecordPage:
    """A page of a list, newest first, without outputs; ``next_cursor`` is None on the last one."""

    records: list[Record]
    next_cursor: str | None


def new_id(now_ms: int) -> str:
    """An unguessable id (119 random bits) that sorts by the time of its making, so that a list needs no other order."""
    return f"gen_{_time_digits(now_ms)}" + "".join(secrets.choice(_ALPHABET) for _ in range(20))


def made_before(generation: str, ms: int) -> bool:
    """Whether an id of :func:`new_id` was made before this time."""
    return generation < f"gen_{_time_digits(max(ms, 0))}"


def _time_digits(ms: int) -> str:
    digits = ""
    for _ in range(_TIME_DIGITS):
        ms, digit = divmod(ms, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits


class RecordStore:
    """Reads records. Every method raises ``LogUnavailable`` when Redis is away."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def note(self, generation: str, tenant: str, now_ms: int) -> None:
        """Put an id on its tenant's list, and let the list forget what nobody can read any more."""
        name = self._keys.tenant(tenant)
        with unavailable():
            pipe = self._redis.pipeline(transaction=False)
            pipe.zadd(name, {generation: 0}, nx=True)
            pipe.zremrangebylex(name, "-", f"(gen_{_time_digits(max(now_ms - _INDEX_LIFE_MS, 0))}")
            await pipe.execute()

    async def forget(self, generation: str, tenant: str) -> None:
        """Take an id off its tenant's list."""
        with unavailable():
            await self._redis.zrem(self._keys.tenant(tenant), generation)

    async def get(self, generation: str, *, tenant: str | None = None) -> Record:
        """The record without its output. Raises ``GenerationNotFound``, also for another tenant's."""
        record = await self.find(generation, tenant)
        if record is None:
            raise GenerationNotFound
        return record

    async def find(self, generation: str, tenant: str | None = None) -> Record | None:
        """The record without its output, or None."""
        with unavailable():
            values = await self._redis.hmget(self._keys.job(generation), *_FIELDS)
        return _record(generation, values, tenant)

    async def submission(self, generation: str, *, tenant: str | None = None) -> Submission:
        """What was asked for. Raises ``GenerationNotFound``, also for another tenant's."""
        with unavailable():
            pipe = self._redis.pipeline(transaction=False)
            pipe.hmget(self._keys.job(generation), "tenant", "model", "created_at", "metadata")
            pipe.get(self._keys.request(generation))
            (owner, model, created_at, metadata), request = await pipe.execute()
        if created_at is None or (tenant is not None and text(owner) != tenant):
            raise GenerationNotFound
        return Submission(
            generation,
            text(model),
            int(created_at) / 1000,
            msgspec.json.decode(metadata or b"{}", type=dict[str, str]),
            StoredRequest.model_validate_json(request) if request else None,
        )

    async def list(
        self, *, tenant: str, status: Status | None = None, limit: int = 20, cursor: str | None = None
    ) -> RecordPage:
        """A tenant's generations, newest first. Raises ``InvalidRequest`` for a cursor that is none of ours."""
        if cursor and not _ID.fullmatch(cursor):
            raise InvalidRequest("this cursor is none of ours", field="cursor")
        found: list[Record] = []
        high = f"({cursor}" if cursor else "+"
        while len(found) <= limit:
            with unavailable():
                rows = await self._redis.zrevrangebylex(self._keys.tenant(tenant), high, "-", start=0, num=limit + 1)
            found += await self._read([text(row) for row in rows], tenant, status)
            if len(rows) <= limit:
                break
            high = f"({text(rows[-1])}"
        page = found[:limit]
        return RecordPage(page, page[-1].id if len(found) > limit else None)

    async def _read(self, ids: Sequence[str], tenant: str, status: Status | None) -> list[Record]:
        if not ids:
            return []
        with unavailable():
            pipe = self._redis.pipeline(transaction=False)
            for generation in ids:
                pipe.hmget(self._keys.job(generation), *_FIELDS)
            answers = await pipe.execute()
        records = [_record(generation, values, tenant) for generation, values in zip(ids, answers, strict=True)]
        return [record for record in records if record is not None and status in (None, record.status)]


def _seconds(value: bytes | None) -> float | None:
    return int(value) / 1000 if value else None


def _record(generation: str, values: Sequence[bytes | None], tenant: str | None) -> Record | None:
    raw = dict(zip(_FIELDS, values, strict=True))
    status: Any = text(raw["status"])
    if not status or (tenant is not None and text(raw["tenant"]) != tenant):
        return None
    reason: Any = text(raw["finish_reason"]) or None
    return Record(
        id=generation,
        status=status,
        model=text(raw["model"]),
        created_at=int(raw["created_at"] or 0) / 1000,
        started_at=_seconds(raw["started_at"]),
        first_token_at=_seconds(raw["first_token_at"]),
        finished_at=_seconds(raw["finished_at"]) if status in ENDED else None,
        attempt=int(raw["attempt"] or 0),
        last_event_id=f"{text(raw['top'])}-{text(raw['seq'])}",
        finish_reason=reason,
        usage=msgspec.json.decode(raw["usage"], type=Usage) if raw["usage"] else None,
        timing=msgspec.json.decode(raw["timing"], type=Timing) if raw["timing"] else None,
        error=msgspec.json.decode(raw["error"], type=ErrorInfo) if raw["error"] else None,
        metadata=msgspec.json.decode(raw["metadata"] or b"{}", type=dict[str, str]),
        links=links(generation),
    )
