"""The fenced writer of one generation: takes events without ever awaiting Redis, appends them in the background.

It keeps every entry of its attempt, so that it can repair a log whose server lost its tail, and it renews the lease.
design.md decisions 2-4.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from broker.errors import AlreadyEnded, Fenced, LogLost, LogUnavailable, RejoinderError
from broker.events import DELTA_TYPES, ContentEvent, Event, Mode, Retrying, Started, encode_entry
from broker.log import StreamLog
from broker.scripts import AppendReply, Claim, Ending, Fence, FieldValue
from worker.batcher import Batcher

_log = logging.getLogger(__name__)

UNWRITTEN_BYTES = 1024 * 1024
"""Past this the provider has to wait for Redis."""
APPEND_ENTRIES = 500
APPEND_BYTES = 256 * 1024
_BACK_OFF_S = (0.02, 0.05, 0.1, 0.2, 0.4)

Reclaim: TypeAlias = Callable[[], Awaitable[tuple[Fence, Claim]]]
"""Claims the log anew after the server forgot our claim; raises a :class:`RejoinderError` when it is no longer ours."""


@dataclass(frozen=True, slots=True)
class Origin:
    """How an attempt began."""

    provider: str
    model: str
    mode: Mode
    prefix: Sequence[ContentEvent]
    """What stood in the log before a ``continue``."""


class LogWriter:
    """Run :meth:`run` as a task beside the provider loop; :attr:`stopped` tells why no more may be written."""

    def __init__(
        self,
        log: StreamLog,
        generation: str,
        fence: Fence,
        claim: Claim,
        origin: Origin,
        *,
        batcher: Batcher,
        lease_s: float,
        reclaim: Reclaim,
    ) -> None:
        self._log = log
        self._generation = generation
        self._fence = fence
        self._origin = origin
        self._batcher = batcher
        self._lease_s = lease_s
        self._reclaim = reclaim
        self._clock = asyncio.get_running_loop().time
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._entries: list[FieldValue] = []
        """All of this attempt's entries; the first one is numbered ``_first``."""
        self._first = claim.top.seq + 1
        self._written = 0
        self._unwritten_bytes = 0
        self._token_at: int | None = None
        """Index of the entry that holds the first token."""
        self._started_at = 0
        """Index of the last ``generation.started``."""
        self.bytes = 0
        """Size of all entries of this attempt."""
        self.attempt = claim.attempt
        self.renewed_at = self._clock()
        self._looks = 0
        """How often a look at the cancel flag was asked for, and …"""
        self._looked = 0
        """… how many of these a reply has answered that was sent for after the asking."""
        self.token_out = False
        self.stopped: asyncio.Future[RejoinderError] = asyncio.get_running_loop().create_future()
        self.cancel_asked: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._put(Started(claim.attempt, origin.mode, origin.provider, origin.model))

    def write(self, event: ContentEvent) -> None:
        """Take a part of the answer; it becomes an entry when the batcher says so."""
        self.token_out = True
        for ready in self._batcher.push(event, self._clock()):
            self._put(ready)
        self._wake.set()

    def announce(self, event: Retrying) -> None:
        """Say that the provider refused and is asked again."""
        self._put(event)
        self._wake.set()

    def restart(self) -> None:
        """The provider will not continue the prefix: void it, and begin from the start within the same attempt."""
        origin = self._origin
        self._origin = Origin(origin.provider, origin.model, "restart", ())
        self._started_at = len(self._entries)
        self._put(Started(self.attempt, "restart", origin.provider, origin.model))
        self._wake.set()

    def look(self) -> None:
        """Ask Redis now whether a cancel is wanted."""
        self._looks += 1
        self._wake.set()

    async def room(self) -> None:
        """Return once there is room for more: backpressure from Redis to the provider."""
        await self._room.wait()

    def _put(self, event: Event) -> None:
        entry = encode_entry(event)
        if self._token_at is None and isinstance(event, DELTA_TYPES):
            self._token_at = len(self._entries)
        self._entries.append(entry)
        self.bytes += len(entry[1])
        self._unwritten_bytes += len(entry[1])
        if self._unwritten_bytes > UNWRITTEN_BYTES:
            self._room.clear()

    async def run(self) -> None:
        """Append what waits and renew the lease, until :attr:`stopped`."""
        tries = 0
        while not self.stopped.done():
            try:
                await self._turn()
                tries = 0
            except LogUnavailable as error:
                if tries == 0:
                    _log.warning("%s: append held back: %s", self._generation, error)
                await asyncio.sleep(_BACK_OFF_S[min(tries, len(_BACK_OFF_S) - 1)])
                tries += 1

    async def _turn(self) -> None:
        now = self._clock()
        if self._batcher.due_at is not None and self._batcher.due_at <= now:
            for event in self._batcher.flush():
                self._put(event)
        batch = self._next_batch()
        renew_at = self.renewed_at + self._lease_s / 3
        if not batch and now < renew_at and self._looked == self._looks:
            until = min(renew_at, self._batcher.due_at or renew_at)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(until - now, 0.0)):
                    await self._wake.wait()
            self._wake.clear()
            return
        await self._append(batch)

    def _next_batch(self) -> list[FieldValue]:
        batch: list[FieldValue] = []
        size = 0
        for entry in self._entries[self._written : self._written + APPEND_ENTRIES]:
            starts = self._written + len(batch) == self._started_at
            if batch and (starts or size + len(entry[1]) > APPEND_BYTES):
                break
            batch.append(entry)
            size += len(entry[1])
        return batch

    async def _append(self, batch: list[FieldValue]) -> None:
        written, looks = self._written, self._looks
        reply = await self._log.append(
            self._generation,
            self._fence,
            self._first + written,
            batch,
            lease_ms=int(self._lease_s * 1000),
            started=self._origin.mode if batch and written == self._started_at else "",
            first_token=self._token_at is not None and written <= self._token_at < written + len(batch),
        )
        if reply.kind == "ok":
            self._acknowledge(written + len(batch))
            self._looked = looks
            if reply.cancel and not self.cancel_asked.done():
                self.cancel_asked.set_result(reply.cancel)
        else:
            await self._repair(reply)

    def _acknowledge(self, written: int) -> None:
        self.renewed_at = self._clock()
        self._unwritten_bytes -= sum(len(value) for _, value in self._entries[self._written : written])
        self._written = written
        if self._unwritten_bytes <= UNWRITTEN_BYTES // 2:
            self._room.set()

    async def _repair(self, reply: AppendReply) -> None:
        """Act on a reply that is not ``ok``: go back, claim anew, or stop."""
        match reply.kind:
            case "behind" if reply.top is not None and reply.top.seq >= self._first - 1:
                self._rewind(reply.top.seq + 1 - self._first)
            case "behind" | "diverged":
                await self._start_over()
            case "gone":
                self._stop(LogLost())
            case "ended":
                self._stop(AlreadyEnded())
            case _:
                self._stop(Fenced())

    def _rewind(self, written: int) -> None:
        _log.warning("%s: the server lost the tail, appending again from entry %d", self._generation, written)
        self._unwritten_bytes += sum(len(value) for _, value in self._entries[written : self._written])
        self._written = written

    async def _start_over(self) -> None:
        """The server forgot our claim: claim again, void what stands there, say everything again. No new call."""
        try:
            self._fence, claim = await self._reclaim()
        except LogUnavailable:
            raise
        except RejoinderError as error:
            self._stop(error)
            return
        _log.warning("%s: the server forgot our claim, starting over as attempt %d", self._generation, claim.attempt)
        origin = self._origin
        started = encode_entry(Started(claim.attempt, "restart", origin.provider, origin.model))
        content = [*map(encode_entry, origin.prefix), *self._entries[self._started_at + 1 :]]
        self._origin = Origin(origin.provider, origin.model, "restart", ())
        self.attempt = claim.attempt
        self._entries = [started, *content]
        self._first = claim.top.seq + 1
        self._written = 0
        self._started_at = 0
        self._token_at = 1 if content else None
        self._unwritten_bytes = sum(len(value) for _, value in self._entries)

    def _stop(self, error: RejoinderError) -> None:
        if not self.stopped.done():
            self.stopped.set_result(error)

    async def drain(self) -> None:
        """Append everything that was taken; call it when :meth:`run` has ended."""
        for event in self._batcher.flush():
            self._put(event)
        while self._written < len(self._entries) and not self.stopped.done():
            await self._retried(self._append_next)

    async def _append_next(self) -> None:
        await self._append(self._next_batch())

    async def _retried(self, step: Callable[[], Awaitable[None]]) -> None:
        tries = 0
        while True:
            try:
                return await step()
            except LogUnavailable:
                await asyncio.sleep(_BACK_OFF_S[min(tries, len(_BACK_OFF_S) - 1)])
                tries += 1

    async def end(self, ending: Ending) -> Literal["ok", "lost"]:
        """Write what is left and the terminal entry; ``lost`` = the log is no longer ours, or has been ended."""
        await self.drain()
        outcome: list[Literal["ok", "lost"]] = []

        async def finish() -> None:
            seq = self._first + self._written
            reply = await self._log.end(self._generation, self._fence, seq, [], ending)
            if reply.kind == "ok":
                outcome.append("ok")
            else:
                await self._repair(reply)

        while not self.stopped.done() and not outcome:
            await self._retried(finish)
            if not outcome:
                await self.drain()
        return outcome[0] if outcome else "lost"

    async def release(self) -> bool:
        """Write what is left and hand the log over; answers whether it was still ours."""
        await self.drain()
        return not self.stopped.done() and await self._log.release(self._generation, self._fence)
