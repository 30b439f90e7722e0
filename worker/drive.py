"""One attempt at one provider: pull the answer, hand it to the writer, and stop for whatever comes first."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from broker.client import Broker
from broker.errors import LogFull, LogUnavailable, ProviderError
from broker.events import CONTENT_TYPES, Retrying
from broker.hub import viewers_settle_s
from broker.request import GenerationRequest
from broker.tasks import end
from broker.values import CancelReason, ErrorInfo, Usage, add_usage
from worker.background import Keep
from worker.calls import Calls
from worker.providers.base import Call, Finish, Provider, ProviderItem, Underway, UsageUpdate
from worker.silence import Silence
from worker.upstream import retrying
from worker.writer import LogWriter

_log = logging.getLogger(__name__)

_WATCH_S = 1.0
_SLOW_LOOK_S = 2.0
"""A look at the viewers that took longer came from a server that stood still."""
LOG_FULL = ErrorInfo(LogFull.code, "Redis had no memory left for this answer.", retryable=True)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the attempt ended; exactly one of the first five is set."""

    finish: Finish | None = None
    error: ErrorInfo | None = None
    cancelled: CancelReason | None = None
    handed_over: bool = False
    lost: bool = False
    """The log is no longer ours: nothing more may be written."""
    usage: Usage | None = None


class Drive:
    """Runs the provider as an inner task, so that a cancel reaches its socket without touching the queue's task."""

    def __init__(
        self,
        broker: Broker,
        generation: str,
        writer: LogWriter,
        request: GenerationRequest,
        *,
        deadline_s: float,
        keep: Keep | None = None,
    ) -> None:
        self._broker = broker
        self._settings = broker.settings
        self._generation = generation
        self.writer = writer
        self._request = request
        self._deadline_s = deadline_s
        self._keep = keep
        self.upstream = ""
        """The id of an answer that goes on without us; empty = there is none."""
        self._hand_over = asyncio.Event()
        self._usage: Usage | None = None
        """What all calls have cost so far."""
        self._paid: Usage | None = None
        """What the calls cost that broke off."""

    def hand_over(self) -> None:
        """Stop here; another worker goes on."""
        self._hand_over.set()

    async def run(self, provider: Provider, call: Call) -> Outcome:
        """The provider's whole answer, or the first reason to stop: cancel, deadline, hand-over, loss of the log."""
        self.upstream = call.upstream
        loop = asyncio.get_running_loop()
        asked = self.writer.cancel_asked
        watches: list[asyncio.Future[Any]] = [
            loop.create_task(self._answer(provider, call)),
            loop.create_task(asyncio.sleep(max(self._deadline_s, 0))),
            loop.create_task(self._hand_over.wait()),
            loop.create_task(self._unwatched()),
        ]
        answer, deadline, hand_over, unwatched = watches
        try:
            writer = self.writer
            await asyncio.wait([*watches, asked, writer.stopped, writer.full], return_when=asyncio.FIRST_COMPLETED)
            if writer.stopped.done():
                return Outcome(lost=True)
            if asked.done():
                return self._outcome(cancelled=asked.result())
            if writer.full.done():
                return self._outcome(error=LOG_FULL)
            if answer.done():
                return answer.result()
            late: CancelReason | None = "deadline" if deadline.done() else "unwatched" if unwatched.done() else None
            return self._outcome(cancelled=late, handed_over=late is None and hand_over.done())
        finally:
            # The provider's socket is closed once its task has ended.
            await end(*watches)

    def _outcome(self, **how: Any) -> Outcome:
        return Outcome(**how, usage=self._usage)

    async def _answer(self, provider: Provider, call: Call) -> Outcome:
        calls = Calls(self._request, provider, call, max_losses=self._settings.max_attempts)
        try:
            while True:
                try:
                    finish = await self._ask(provider, calls)
                except ProviderError as error:
                    pause_s = calls.again(error)
                    if pause_s is None:
                        return self._outcome(error=_info(error))
                    self._paid = self._usage
                    _log.warning("%s: %s; asking %s again", self._generation, error, provider.name)
                    await asyncio.sleep(pause_s)
                else:
                    return self._outcome(finish=finish)
        except Exception:  # noqa: BLE001 - an adapter that breaks its contract must still end its generation
            _log.exception("%s: provider %s failed in a way it should not", self._generation, provider.name)
        return self._outcome(error=ErrorInfo("internal_error", "The provider's adapter failed.", retryable=True))

    async def _ask(self, provider: Provider, calls: Calls) -> Finish:
        """One call, asked again for as long as the provider refuses before its first token."""
        async for attempt in retrying(self._settings.max_retries, lambda: calls.token_out, self._announce):
            with attempt:
                return await self._pull(provider, calls)
        raise AssertionError("tenacity ends in an answer or in an error")

    async def _announce(self, tries: int, pause_s: float, error: ProviderError) -> None:
        self.writer.announce(Retrying(tries, round(pause_s, 3), _info(error)))

    async def _pull(self, provider: Provider, calls: Calls) -> Finish:
        stall_s = self._settings.stall_s
        async with aclosing(provider.stream(calls.call)) as items:
            silence = Silence(stall_s)
            try:
                async with silence:
                    return await self._take(items, silence, calls)
            except TimeoutError:
                if not silence.expired:
                    raise
                raise ProviderError(
                    f"the provider has sent nothing for {stall_s:g} s", code="provider_stalled", retryable=True
                ) from None

    async def _take(self, items: AsyncGenerator[ProviderItem, None], silence: Silence, calls: Calls) -> Finish:
        limit, writer = self._settings.max_log_bytes, self.writer
        while True:
            silence.wait()
            item = await anext(items, None)
            silence.heard()
            if isinstance(item, CONTENT_TYPES):
                if (mode := calls.take(item)) is not None:
                    writer.begin_again(mode, attempt=writer.attempt + 1)
                writer.write(item)
                if writer.bytes > limit:
                    raise ProviderError(f"the answer is larger than {limit} bytes", code="output_too_large")
                await writer.room()
            elif isinstance(item, Underway):
                await self._underway(item.id, calls)
            elif isinstance(item, UsageUpdate):
                self._usage = add_usage(self._paid, item.usage)
            elif isinstance(item, Finish):
                if item.usage is not None:
                    self._usage = add_usage(self._paid, item.usage)
                return item
            else:
                raise ProviderError("the answer broke off", code="provider_truncated", retryable=True)

    async def _underway(self, upstream: str, calls: Calls) -> None:
        """No token is taken before the id is kept: else a successor would ask, and pay, a second time."""
        self.upstream = upstream
        calls.underway(upstream)
        if upstream and self._keep is not None:
            await self._keep(upstream, self.writer.attempt, begun=not calls.begins_anew)

    async def _unwatched(self) -> None:
        """Return when nobody has watched for as long as the request allows; never, where it does not care."""
        if self._request.on_disconnect == "continue":
            await asyncio.Event().wait()
        clock = asyncio.get_running_loop().time
        settled_at = 0.0
        while True:
            await asyncio.sleep(_WATCH_S)
            asked_at = clock()
            try:
                unwatched, limit = await self._broker.scripts.watch(self._generation)
            except LogUnavailable:
                settled_at = math.inf
            else:
                # The viewers' nodes come back when Redis does, not when we last failed to reach it.
                if settled_at == math.inf or clock() - asked_at > _SLOW_LOOK_S:
                    settled_at = clock() + viewers_settle_s()
                if unwatched >= limit > 0 and clock() >= settled_at:
                    return


def _info(error: ProviderError) -> ErrorInfo:
    return ErrorInfo(error.code, error.message, error.can_retry, error.status)
