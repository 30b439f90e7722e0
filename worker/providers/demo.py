"""The built-in provider: deterministic, scripted by the request, needs no key and no network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

from broker.errors import ProviderError
from broker.events import DELTA_TYPES, Usage
from broker.routing import DEMO_MODELS
from worker.providers.base import Call, ProviderItem, UsageUpdate
from worker.providers.demo_script import (
    Answer,
    DemoOptions,
    after_prefix,
    parse_options,
    prompt_words,
    seed_of,
    write_answer,
)

_YIELD_EVERY = 32
"""Tokens after which the loop gets a turn although none is owed a wait."""
_MOST_REFUSE_KEYS = 1024
"""Counters of refusals kept: those of abandoned generations are never collected otherwise."""


class DemoProvider:
    """Answers as :class:`worker.providers.demo_script.DemoOptions` says: the same request always gets the same."""

    name = "demo"

    def __init__(self) -> None:
        self._refused: dict[str, int] = {}

    async def stream(self, call: Call) -> AsyncGenerator[ProviderItem, None]:
        """Yield the scripted answer at its pace.

        Raises :class:`ProviderError`: ``provider_rejected`` for bad options, and whatever the options ask for.
        """
        options = parse_options(call.request)
        self._refuse(call, options)
        answer = write_answer(call.request, options)
        counts = _Counts(answer, words=prompt_words(call.request))
        yield UsageUpdate(counts.usage())
        pace = _Pace(options)
        for index, event in after_prefix(answer.events, call.prefix):
            if isinstance(event, DELTA_TYPES):
                if _disturbed(options, index):
                    yield UsageUpdate(counts.usage())
                    await _disturb(options, index)
                await pace.next()
                counts.add(index)
            yield event
        if _disturbed(options, answer.total):
            yield UsageUpdate(counts.usage())
            await _disturb(options, answer.total)
        yield replace(answer.finish, usage=counts.usage())

    def can_continue(self, model: str) -> bool:
        """Always: given the beginning of its answer, the demo goes on to the very character."""
        return model in DEMO_MODELS

    def models(self) -> list[str]:
        """The demo's models."""
        return list(DEMO_MODELS)

    async def aclose(self) -> None:
        """There is nothing to close."""

    def _refuse(self, call: Call, options: DemoOptions) -> None:
        if options.refuse == 0:
            return
        key = options.refuse_key or f"seed {seed_of(call.request, options)}"
        refused = self._refused.pop(key, 0)
        if refused >= options.refuse:
            return
        while len(self._refused) >= _MOST_REFUSE_KEYS:
            del self._refused[next(iter(self._refused))]
        self._refused[key] = refused + 1
        raise ProviderError(
            f"the demo refuses attempt {refused + 1} of {options.refuse}",
            code="provider_rate_limited",
            retryable=True,
            status=429,
            retry_after_s=options.retry_after_s,
        )


class _Pace:
    """Waits until each token is due, counted from the start, so that waits that run long do not add up."""

    def __init__(self, options: DemoOptions) -> None:
        self._clock = asyncio.get_running_loop().time
        self._due = self._clock() + options.ttft_s
        self._start = self._due
        self._rate = options.rate
        self._count = 0

    async def next(self) -> None:
        wait = self._due - self._clock()
        if wait > 0:
            await asyncio.sleep(wait)
        elif self._count % _YIELD_EVERY == _YIELD_EVERY - 1:
            await asyncio.sleep(0)
        self._count += 1
        if self._rate > 0:
            self._due = self._start + self._count / self._rate


class _Counts:
    """What this call has to bill: the tokens it emitted itself, not those of the prefix."""

    def __init__(self, answer: Answer, *, words: int) -> None:
        self._words = words
        self._thoughts = answer.reasoning
        self._output = 0
        self._reasoning = 0

    def add(self, index: int) -> None:
        self._output += 1
        if index < self._thoughts:
            self._reasoning += 1

    def usage(self) -> Usage:
        return Usage(
            input_tokens=self._words,
            output_tokens=self._output,
            reasoning_tokens=self._reasoning if self._thoughts else None,
        )


def _disturbed(options: DemoOptions, index: int) -> bool:
    return any(at is not None and index >= at for at in (options.fail_at, options.truncate_at, options.stall_at))


async def _disturb(options: DemoOptions, index: int) -> None:
    """Raise, or hang until cancelled."""
    if options.fail_at is not None and index >= options.fail_at:
        raise ProviderError(
            f"the demo fails after {options.fail_at} tokens",
            code=options.fail_code,
            retryable=options.fail_retryable,
            status=options.fail_status,
        )
    if options.truncate_at is not None and index >= options.truncate_at:
        raise ProviderError("the demo's stream ended without its end mark", code="provider_truncated", retryable=True)
    await asyncio.Event().wait()
