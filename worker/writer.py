"""The fenced writer of one generation: takes events without ever awaiting Redis, appends them in the background.

It repairs a log whose server lost its tail or our claim, and it renews the lease. design.md decisions 2-4.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias

from broker.errors import AlreadyEnded, Fenced, LogFull, LogLost, LogUnavailable, RejoinderError
from broker.events import ContentEvent, Event, Mode, Retrying, Started
from broker.log import StreamLog
from broker.scripts import AppendReply, Claim, Ending, Fence
from worker.batcher import Batcher
from worker.held import Held, Origin, Portion
from worker.patience import Patience
from worker.posts import Posts

_log = logging.getLogger(__name__)

UNWRITTEN_BYTES = 1024 * 1024
"""Past this the provider has to wait for Redis."""
Reclaim: TypeAlias = Callable[[], Awaitable[tuple[Fence, Claim]]]
"""Claims the log anew after the server forgot our claim; raises a :class:`RejoinderError` when it is no longer ours."""


class LogWriter:
    """Run :meth:`run` beside the provider loop; :attr:`stopped` and :attr:`full` tell why no more may be written."""

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
        rewound: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._log = log
        self.generation = generation
        self._fence = fence
        self._origin = origin
        self._batcher = batcher
        self._lease_s = lease_s
        self._reclaim = reclaim
        self._rewound = rewound
        loop = asyncio.get_running_loop()
        self._clock = loop.time
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._held = Held(claim.top.seq + 1, origin.prefix)
        self._patience = Patience(generation, self._meanwhile)
        self.attempt = claim.attempt
        self.renewed_at = self._clock()
        self._in_trouble = False
        self._due: asyncio.TimerHandle | None = None
        # How often a look at the cancel flag was asked for, and how many of these a later append has answered.
        self._looks = self._looked = 0
        self.stopped: asyncio.Future[RejoinderError] = loop.create_future()
        self.cancel_asked: asyncio.Future[str] = loop.create_future()
        self.kept = True
        """The terminal entry has arrived wherever the settings want it."""
        self._put(Started(claim.attempt, origin.mode, origin.provider, origin.model))
        self._posts: Posts | None = None
        if log.can_post:
            self._posts = Posts(
                log, generation, self._held, lease_ms=self._renewal, taken=self._taken, trouble=self._on_trouble
            )
            self._posts.own(fence)

    @property
    def bytes(self) -> int:
        """Size of all entries that are held."""
        return self._held.bytes

    @property
    def full(self) -> asyncio.Future[LogFull]:
        """Redis has had no memory left for :data:`worker.patience.FULL_S`."""
        return self._patience.full

    def write(self, event: ContentEvent) -> None:
        """Take a part of the answer; it becomes an entry when the batcher says so."""
        for ready in self._batcher.push(event, self._clock()):
            self._put(ready)
        self._go()

    def announce(self, event: Retrying) -> None:
        """Say that the provider refused and is asked again."""
        self._flush()
        self._put(event)
        self._go()

    def begin_again(self, mode: Mode, *, attempt: int) -> None:
        """The provider is asked anew: ``restart`` voids what came before, with ``continue`` it stands."""
        self._flush()
        self._batcher.begin()
        self.attempt = attempt
        self._put(Started(attempt, mode, self._origin.provider, self._origin.model))
        self._go()

    def _go(self) -> None:
        """Have what is ready appended, and what is not when it is due."""
        if self._posts is None:
            self._wake.set()
            return
        self._posts.go()
        due_at = self._batcher.due_at
        if due_at is not None and self._due is None:
            self._due = asyncio.get_running_loop().call_at(due_at, self._on_due)

    def _on_due(self) -> None:
        self._due = None
        self._flush_due()
        self._go()

    def _flush_due(self) -> None:
        if self._batcher.is_due(self._clock()):
            self._flush()

    def look(self) -> None:
        """Ask Redis now whether a cancel is wanted."""
        self._looks += 1
        self._wake.set()

    async def room(self) -> None:
        """Return once there is room for more: backpressure from Redis to the provider."""
        await self._room.wait()

    def _put(self, event: Event) -> None:
        self._held.put(event)
        if self._held.unwritten_bytes > UNWRITTEN_BYTES:
            self._room.clear()

    def _flush(self) -> None:
        for event in self._batcher.flush():
            self._put(event)

    @property
    def _over(self) -> bool:
        return self.stopped.done() or self.full.done()

    async def run(self) -> None:
        """Append what waits and renew the lease, until :attr:`stopped` or :attr:`full`."""
        while not self._over:
            await self._patience.retried(self._turn)

    async def _turn(self) -> None:
        self._flush_due()
        now = self._clock()
        renew_at = self.renewed_at + self._lease_s / 3
        quiet = now < renew_at and self._looked == self._looks
        if self._posts is not None and quiet and not self._in_trouble:
            self._posts.open()
            await self._wait(renew_at - now)
            return
        if self._posts is not None:
            await self._posts.landed()
        elif self._held.all_written and quiet:
            await self._wait(min(renew_at, self._batcher.due_at or renew_at) - now)
            return
        await self._append(self._held.portion())
        self._in_trouble = False

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0.0)):
                await self._wake.wait()
        self._wake.clear()

    async def _append(self, portion: Portion) -> None:
        looks = self._looks
        reply = await self._log.append(
            self.generation,
            self._fence,
            portion.first,
            portion.entries,
            lease_ms=int(self._lease_s * 1000),
            started=portion.started,
            first_token=portion.first_token,
        )
        if reply.kind != "ok":
            await self._repair(reply)
            return
        self._looked = looks
        self._taken(portion, reply, renewed=True)

    def _taken(self, portion: Portion, reply: AppendReply, renewed: bool) -> None:
        if renewed:
            self.renewed_at = self._clock()
        self._held.acknowledge(portion)
        if self._held.unwritten_bytes <= UNWRITTEN_BYTES // 2:
            self._room.set()
        if reply.cancel and not self.cancel_asked.done():
            self.cancel_asked.set_result(reply.cancel)

    def _renewal(self) -> int | None:
        """The lease that a posted append asks for: none, where it was renewed a moment ago."""
        return None if self._clock() - self.renewed_at < self._lease_s / 6 else int(self._lease_s * 1000)

    def _on_trouble(self) -> None:
        self._in_trouble = True
        self._wake.set()

    async def _repair(self, reply: AppendReply) -> None:
        """Act on a reply that is not ``ok``: go back, claim anew, or stop."""
        match reply.kind:
            case "behind" if reply.top is not None and self._held.knows(reply.top.seq):
                lost = self._held.rewind(reply.top.seq)
                if self._rewound is not None:
                    await self._rewound()
                _log.warning("%s: the server lost %d entries, appending them again", self.generation, lost)
            case "behind" | "diverged":
                await self._start_over()
            case kind:
                self._stop(LogLost() if kind == "gone" else AlreadyEnded() if kind == "ended" else Fenced())

    async def _start_over(self) -> None:
        """The server forgot our claim: claim again, void what stands there, say everything again. No new call."""
        try:
            self._fence, claim = await self._reclaim()
        except LogUnavailable:
            raise
        except RejoinderError as error:
            self._stop(error)
            return
        _log.warning("%s: the server forgot our claim, starting over as attempt %d", self.generation, claim.attempt)
        if self._posts is not None:
            self._posts.own(self._fence)
        self.attempt = claim.attempt
        started = Started(claim.attempt, "restart", self._origin.provider, self._origin.model)
        self._held.start_over(claim.top.seq + 1, started)

    def _stop(self, error: RejoinderError) -> None:
        if not self.stopped.done():
            self.stopped.set_result(error)

    async def drain(self) -> None:
        """Append everything that was taken; call it when :meth:`run` has ended."""
        if self._posts is not None:
            await self._posts.landed()
        self._flush()
        while not self._held.all_written and not self._over:
            await self._patience.retried(lambda: self._append(self._held.portion()))

    async def _meanwhile(self) -> None:
        """What works while Redis is full: renew the lease, hear of a cancel."""
        if not self._over:
            await self._append(Portion(self._held.next_seq, [], "", first_token=False))

    def abandon(self) -> None:
        """Give up what could not be written, so that the log can be ended behind what is there."""
        self._batcher.flush()
        self._held.drop_unwritten()
        self._patience.forget()

    async def end(self, ending: Ending) -> Literal["ok", "lost", "full"]:
        """Write what is left and the terminal entry.

        ``lost`` = the log is no longer ours, or has been ended; ``full`` = Redis has no memory for what is left.
        """
        await self.drain()
        outcome: list[Literal["ok", "lost"]] = []

        async def finish() -> None:
            reply = await self._log.end(self.generation, self._fence, self._held.next_seq, [], ending)
            if reply.kind == "ok":
                self.kept = reply.kept
                outcome.append("ok")
            else:
                await self._repair(reply)

        while not self._over and not outcome:
            await self._patience.retried(finish)
            if not outcome:
                await self.drain()
        if outcome:
            return outcome[0]
        return "lost" if self.stopped.done() else "full"

    async def release(self) -> bool:
        """Write what is left and hand the log over; answers whether it was still ours."""
        await self.drain()
        released: list[bool] = []

        async def let_go() -> None:
            released.append(await self._log.release(self.generation, self._fence))

        if not self._over:
            await self._patience.retried(let_go)
        return any(released)
