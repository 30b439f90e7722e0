"""The one task: claim a log, drive its provider, write, end. design.md decisions 2-8."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import msgspec

from broker.client import Broker
from broker.errors import Fenced, LogUnavailable, RejoinderError, UnknownModel
from broker.events import (
    Cancelled,
    Completed,
    Failed,
    event_to_json,
)
from broker.jobs import ending_head
from broker.request import GenerationRequest, StoredRequest
from broker.scripts import Claim, Ending, Fence, Refusal
from broker.tasks import end
from broker.values import ErrorInfo
from worker.background import Keeper, abandon
from worker.batcher import Batcher, phase_of
from worker.drive import LOG_FULL, Drive, Outcome
from worker.providers.base import Call
from worker.providers.registry import Registry
from worker.takeover import take_over
from worker.writer import LogWriter, Origin

T = TypeVar("T")

_log = logging.getLogger(__name__)

WORKER_LOST = ErrorInfo("worker_lost", "The workers of this generation died; it has no attempts left.", retryable=True)

_AGAIN_S = 0.2


@dataclass(frozen=True, slots=True)
class Done:
    """The log has ended, or is gone: the job may leave the queue."""


@dataclass(frozen=True, slots=True)
class Busy:
    """Another owner may still live: come back in so many ms."""

    wait_ms: int


@dataclass(frozen=True, slots=True)
class HandedOver:
    """Released in good order: any worker may take it now."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Somebody else owns the log now: leave the queue to them."""


Result: TypeAlias = Done | Busy | HandedOver | Lost


class Generator:
    """Runs generations in this process; one :meth:`run` per job."""

    def __init__(self, broker: Broker, registry: Registry) -> None:
        self._broker = broker
        self._registry = registry
        self._running: dict[str, Drive] = {}
        self.whole_since = asyncio.get_running_loop().time()
        """Since when this process's connections to Redis have been whole; set anew at every trouble."""
        self._draining = False

    @property
    def running(self) -> dict[str, Drive]:
        """The generations that run here, by id."""
        return self._running

    def look(self, generation: str) -> None:
        """Somebody wants this generation's cancel flag looked at."""
        drive = self._running.get(generation)
        if drive is not None:
            drive.writer.look()

    def hand_over(self) -> None:
        """Let go of everything that runs here, in good order."""
        self._draining = True
        for drive in self._running.values():
            drive.hand_over()

    async def run(self, generation: str) -> Result:
        """Drive one generation to its end, or to the end of our part. Raises ``LogUnavailable`` before a claim."""
        owner = secrets.token_hex(16)
        try:
            claim = await self._claim(generation, owner)
            if isinstance(claim, Refusal):
                return await self._refused(generation, claim)
        except LogUnavailable:
            self.whole_since = asyncio.get_running_loop().time()
            raise
        if not claim.request:
            _log.error("%s: Redis has lost what was asked for", generation)
            return Done()
        return await self._drive(generation, owner, claim, StoredRequest.model_validate_json(claim.request))

    async def _claim(self, generation: str, owner: str) -> Claim | Refusal:
        settings = self._broker.settings
        event = event_to_json(Failed(WORKER_LOST))
        return await self._broker.log.claim(
            generation,
            owner,
            lease_ms=int(settings.lease_s * 1000),
            max_attempts=settings.max_attempts,
            whole_ms=int((asyncio.get_running_loop().time() - self.whole_since) * 1000),
            lost=(ending_head(event), msgspec.json.encode(WORKER_LOST)),
        )

    async def _patiently(self, read: Callable[[], Awaitable[T]]) -> T:
        """Read what the claim is for; an outage shorter than the lease must not cost the claim."""
        clock = asyncio.get_running_loop().time
        until = clock() + self._broker.settings.lease_s
        while True:
            try:
                return await read()
            except LogUnavailable:
                if clock() >= until:
                    raise
            await asyncio.sleep(_AGAIN_S)

    async def _refused(self, generation: str, refusal: Refusal) -> Result:
        if refusal.kind == "busy":
            return Busy(refusal.wait_ms)
        if refusal.kind == "lost":
            await self._broker.count_ended(generation)
        if refusal.upstream is not None and refusal.request:
            request = StoredRequest.model_validate_json(refusal.request)
            with contextlib.suppress(UnknownModel):
                await abandon(self._registry.resolve(request.model)[0], refusal.upstream.id, generation)
        return Done()

    async def _drive(self, generation: str, owner: str, claim: Claim, request: StoredRequest) -> Result:
        try:
            wanted = request.wire.target if request.wire else None
            provider, model = self._registry.resolve(wanted or request.model)
        except UnknownModel as error:
            provider, model = None, request.model
            refused = Outcome(error=ErrorInfo(error.code, error.message))
        else:
            refused = None
        log = self._broker.log
        mode, prefix, upstream = await self._patiently(lambda: take_over(log, generation, claim, provider, model))
        keeper = Keeper(log, generation, Fence(owner, claim.epoch))
        writer = self._writer(
            generation, owner, claim, request, Origin(provider.name if provider else "", model, mode, prefix), keeper
        )
        drive = Drive(self._broker, generation, writer, request, deadline_s=claim.deadline_ms / 1000, keep=keeper.keep)
        self._running[generation] = drive
        if self._draining:
            drive.hand_over()
        if claim.cancel and not writer.cancel_asked.done():
            writer.cancel_asked.set_result(claim.cancel)
        try:
            async with contextlib.AsyncExitStack() as stack:
                appends = asyncio.get_running_loop().create_task(writer.run())
                stack.push_async_callback(end, appends)
                call = Call(request, model, list(prefix), upstream)
                outcome = refused or await drive.run(provider, call) if provider else refused
        finally:
            del self._running[generation]
        result = await self._finish(generation, writer, outcome or Outcome())
        if drive.upstream and isinstance(result, Done):
            await abandon(provider, drive.upstream, generation)
        return result

    def _writer(
        self, generation: str, owner: str, claim: Claim, request: GenerationRequest, origin: Origin, keeper: Keeper
    ) -> LogWriter:
        async def reclaim() -> tuple[Fence, Claim]:
            fresh = secrets.token_hex(16)
            while isinstance(again := await self._claim(generation, fresh), Refusal):
                if again.kind != "busy":
                    raise Fenced
                await asyncio.sleep(min(again.wait_ms / 1000 + 0.01, 1.0))
            fence = Fence(fresh, again.epoch)
            await keeper.reclaimed(fence, again.attempt)
            return fence, again

        delivery = request.delivery
        return LogWriter(
            self._broker.log,
            generation,
            Fence(owner, claim.epoch),
            claim,
            origin,
            batcher=Batcher(delivery.batch, delivery.window_ms / 1000, phase=phase_of(generation)),
            lease_s=self._broker.settings.lease_s,
            reclaim=reclaim,
            rewound=keeper.again,
        )

    async def _end(self, writer: LogWriter, outcome: Outcome) -> str:
        """End the log. Where Redis has no memory for the rest of an answer, the answer is not completed."""
        if not writer.full.done():
            ended = await writer.end(_ending(outcome))
            if ended != "full":
                return ended
        if outcome.finish is not None:
            outcome = Outcome(error=LOG_FULL, usage=outcome.usage)
        writer.abandon()
        return await writer.end(_ending(outcome))

    async def _finish(self, generation: str, writer: LogWriter, outcome: Outcome) -> Result:
        if outcome.handed_over:
            return HandedOver() if await writer.release() else Lost()
        if outcome.lost or await self._end(writer, outcome) == "lost":
            stopped = writer.stopped.result() if writer.stopped.done() else None
            return Lost() if isinstance(stopped, Fenced) else Done()
        if not writer.kept:
            _log.warning("%s: its end was not confirmed within REJOINDER_WAIT_S", generation)
        with contextlib.suppress(RejoinderError):
            await self._broker.count_ended(generation, kept=writer.kept)
        return Done()


def _ending(outcome: Outcome) -> Ending:
    usage = outcome.usage
    event: Completed | Failed | Cancelled
    status: Literal["completed", "failed", "cancelled"]
    error = b""
    reason = ""
    if outcome.cancelled is not None:
        event, status = Cancelled(outcome.cancelled, usage), "cancelled"
    elif outcome.finish is not None:
        finish = outcome.finish
        event = Completed(finish.reason, finish.provider_reason, finish.stop_sequence, usage)
        status, reason = "completed", finish.reason
    else:
        info = outcome.error or ErrorInfo("internal_error", "The worker failed.", retryable=True)
        event, status, error = Failed(info, usage), "failed", msgspec.json.encode(info)
    return Ending(
        status=status,
        head=ending_head(event_to_json(event)),
        output_tokens=usage.output_tokens if usage else None,
        usage=msgspec.json.encode(usage) if usage else b"",
        error=error,
        finish_reason=reason,
    )
