"""StreamLog: one generation's events in Redis, written under a fence and read in pages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from broker.errors import GenerationNotFound, LogExpired
from broker.events import Entry, decode_entry
from broker.follow import Follower, Page
from broker.keys import Keys
from broker.lane_client import ask
from broker.position import START, Position
from broker.record import ENDED, Status
from broker.redis import Redis, text, unavailable
from broker.rows import Row
from broker.scripts import (
    AppendHead,
    AppendReply,
    Claim,
    Ending,
    Fence,
    FieldValue,
    Refusal,
    Scripts,
    UpstreamAnswer,
)

T = TypeVar("T")

PAGE_ENTRIES = 500
_STAT_FIELDS = ("tenant", "status", "top", "seq", "cancel_after_ms", "attempt", "restart")


@dataclass(frozen=True, slots=True)
class Stat:
    """How a log stands, from its job hash."""

    status: Status
    top: Position
    ended: bool
    cancel_after_ms: int | None
    attempt: int
    log_exists: bool
    restart: int = 0
    """The seq of the last ``generation.started`` that voided what came before it; 0 = none has."""


class StreamLog:
    """The logs of one Redis server. Every method raises ``LogUnavailable`` when Redis is away."""

    def __init__(self, redis: Redis, keys: Keys, scripts: Scripts) -> None:
        self._redis = redis
        self._keys = keys
        self._scripts = scripts

    async def claim(
        self, generation: str, owner: str, *, lease_ms: int, max_attempts: int, whole_ms: int, lost: tuple[bytes, bytes]
    ) -> Claim | Refusal:
        """Become the one writer: :meth:`broker.scripts.Scripts.claim`."""
        return await self._scripts.claim(
            generation, owner, lease_ms=lease_ms, max_attempts=max_attempts, whole_ms=whole_ms, lost=lost
        )

    async def append(
        self,
        generation: str,
        fence: Fence,
        first: int,
        entries: Sequence[FieldValue],
        *,
        lease_ms: int | None,
        started: str = "",
        first_token: bool = False,
    ) -> AppendReply:
        """Compare-and-append: :meth:`broker.scripts.Scripts.append`."""
        return await self._scripts.append(
            generation, fence, first, entries, lease_ms=lease_ms, started=started, first_token=first_token
        )

    @property
    def can_post(self) -> bool:
        """Whether :meth:`post` works here."""
        return self._scripts.lane is not None

    def post_head(self, generation: str, fence: Fence) -> AppendHead:
        """What :meth:`post` takes first: made once for each owner."""
        return self._scripts.append_head(generation, fence)

    def post(self, command: bytes, done: Callable[[Any], None]) -> None:
        """Append without waiting: :meth:`broker.scripts.Scripts.post_append`."""
        self._scripts.post_append(command, done)

    async def end(
        self,
        generation: str,
        fence: Fence,
        first: int,
        entries: Sequence[FieldValue],
        ending: Ending,
        *,
        first_token: bool = False,
    ) -> AppendReply:
        """Append the terminal event: :meth:`broker.scripts.Scripts.end`."""
        return await self._scripts.end(generation, fence, first, entries, ending, first_token=first_token)

    async def release(self, generation: str, fence: Fence) -> bool:
        """Hand the log over: :meth:`broker.scripts.Scripts.release`."""
        return await self._scripts.release(generation, fence)

    async def keep_upstream(self, generation: str, fence: Fence, upstream: UpstreamAnswer) -> bool:
        """Keep where the answer is made: :meth:`broker.scripts.Scripts.keep_upstream`."""
        return await self._scripts.keep_upstream(generation, fence, upstream)

    async def stat(self, generation: str, *, tenant: str | None = None) -> Stat:
        """How the log stands.

        Raises:
            GenerationNotFound: there is no such generation, or it is another tenant's.
        """
        with unavailable():
            values, exists = await ask(
                self._redis,
                tuple,
                ("HMGET", self._keys.job(generation), *_STAT_FIELDS),
                ("EXISTS", self._keys.log(generation)),
            )
        return _stat(values, tenant, log_exists=bool(exists))

    async def page(
        self, generation: str, start: Position, *, tenant: str | None = None, limit: int = PAGE_ENTRIES
    ) -> tuple[Page, Stat]:
        """The entries from ``start`` on, inclusive, and how the log stood just before they were read.

        Raises:
            GenerationNotFound: there is no such generation, or it is another tenant's, or its log was lost.
            LogExpired: it has ended and its log has passed its retention.
        """
        count = limit + (start != START)
        with unavailable():
            pipe = self._redis.pipeline(transaction=False)
            pipe.hmget(self._keys.job(generation), *_STAT_FIELDS)
            pipe.xrange(self._keys.log(generation), min="-" if start == START else str(start), count=count)
            pipe.exists(self._keys.log(generation))
            values, rows, exists = await pipe.execute()
        stat = _stat(values, tenant, log_exists=bool(exists))
        if not rows and not exists:
            if stat.ended:
                raise LogExpired
            raise GenerationNotFound("The log of this generation is gone")
        return Page(entries=read_rows(rows), full=len(rows) == count, ended=stat.ended), stat

    async def rows(
        self, generation: str, start: Position, take: Callable[[list[Row], bool, bool], T], *, limit: int
    ) -> T:
        """What ``take`` makes of the rows from ``start`` on, inclusive.

        It is told, too, whether there may be more, and whether the log had ended just before. Raises what it raises,
        and what :meth:`page` raises.
        """
        count = limit + (start != START)

        def taken(replies: list[Any]) -> T:
            status, rows, exists = replies
            ended = text(status) in ENDED
            if not rows and not exists:
                if ended:
                    raise LogExpired
                raise GenerationNotFound("The log of this generation is gone")
            return take(rows, len(rows) == count, ended)

        with unavailable():
            name, low = self._keys.log(generation), "-" if start == START else str(start)
            return await ask(
                self._redis,
                taken,
                ("HGET", self._keys.job(generation), "status"),
                ("XRANGE", name, low, "+", "COUNT", count),
                ("EXISTS", name),
            )

    async def entries(self, generation: str, after: Position, top: Position) -> AsyncGenerator[list[Entry], None]:
        """The entries behind ``after`` up to ``top``, page by page."""
        follower = Follower(after)
        while not follower.ended and follower.position.seq < top.seq:
            page, _ = await self.page(generation, follower.position)
            step = follower.on_page(page, patient=False)
            yield [entry for entry in step.entries if entry.position.seq <= top.seq]
            if step.kind == "reset" or step.at_tail:
                return

    async def tops(self, generations: Sequence[str]) -> list[Position | None]:
        """The last position of each log; ``None`` where there is no such generation."""
        with unavailable():
            pipe = self._redis.pipeline(transaction=False)
            for generation in generations:
                pipe.hmget(self._keys.job(generation), "top", "seq")
            rows = await pipe.execute()
        return [Position(int(top), int(seq)) if top and seq else None for top, seq in rows]


def existing(stat: Stat) -> Stat:
    """The same. Raises ``LogExpired`` when only the record is left, ``GenerationNotFound`` when the log was lost."""
    if not stat.log_exists:
        raise LogExpired if stat.ended else GenerationNotFound("The log of this generation is gone")
    return stat


def read_rows(rows: Sequence[tuple[bytes, dict[bytes, bytes]]]) -> list[Entry]:
    """Stream entries as Redis answers them."""
    entries: list[Entry] = []
    for key, fields in rows:
        epoch, _, seq = key.partition(b"-")
        ((name, value),) = fields.items()
        entries.append(Entry(Position(int(epoch), int(seq)), decode_entry(name, value)))
    return entries


def _stat(values: Sequence[bytes | None], tenant: str | None, *, log_exists: bool) -> Stat:
    owner, status, top, seq, cancel_after, attempt, restart = values
    if status is None or (tenant is not None and text(owner) != tenant):
        raise GenerationNotFound
    word: Any = text(status)
    return Stat(
        status=word,
        top=Position(int(top or 0), int(seq or 0)),
        ended=word in ENDED,
        cancel_after_ms=int(cancel_after) if cancel_after else None,
        attempt=int(attempt or 0),
        log_exists=log_exists,
        restart=int(restart or 0),
    )
