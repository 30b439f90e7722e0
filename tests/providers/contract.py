"""What every provider owes the worker, as a suite: subclass it, and say how each scenario is staged."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from contextlib import aclosing
from typing import Any, Literal, TypeAlias

import pytest

from broker.errors import ProviderError
from broker.events import (
    CONTENT_TYPES,
    ContentEvent,
    ReasoningDelta,
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
)
from broker.request import GenerationRequest
from tests.support.waiting import wait_until
from worker.providers.base import Call, Finish, Provider, ProviderItem

Scenario: TypeAlias = Literal[
    "text", "reasoning", "tools", "length",
    "silent", "stalls", "truncated", "cut", "rate limited", "overloaded", "no key", "nonsense",
]  # fmt: skip
WHOLE: tuple[Scenario, ...] = ("text", "reasoning", "tools", "length")
FAILURES: dict[Scenario, tuple[str, bool]] = {
    "truncated": ("provider_truncated", True),
    "cut": ("provider_truncated", True),
    "rate limited": ("provider_rate_limited", True),
    "overloaded": ("provider_overloaded", True),
    "no key": ("provider_auth", False),
    "nonsense": ("provider_malformed", True),
}


def make_call(model: str = "m1", prefix: list[ContentEvent] | None = None, **fields: Any) -> Call:
    """A call with a short prompt; keywords are fields of the request."""
    fields = {"input": "hello"} | fields if "messages" not in fields else fields
    return Call(GenerationRequest(model=f"x/{model}", **fields), model, prefix or [])


async def items_of(provider: Provider, call: Call) -> list[ProviderItem]:
    """Everything the provider yields."""
    return [item async for item in provider.stream(call)]


async def failure_of(provider: Provider, call: Call) -> tuple[list[ProviderItem], ProviderError]:
    """What the provider yields before it fails, and how it fails."""
    seen: list[ProviderItem] = []
    with pytest.raises(ProviderError) as caught:
        async for item in provider.stream(call):
            seen.append(item)  # noqa: PERF401 - what was seen before an error counts
    return seen, caught.value


def content(items: list[ProviderItem]) -> list[ContentEvent]:
    """The events among the items."""
    return [item for item in items if isinstance(item, CONTENT_TYPES)]


def text_of(items: list[ProviderItem]) -> str:
    """The text of the answer."""
    return "".join(item.text for item in items if isinstance(item, TextDelta))


class ProviderContract:
    """The suite. A subclass offers the fixture ``stage``, itself entered: see :class:`Stage`."""

    async def test_ends_with_exactly_one_finish(self, stage: Stage) -> None:
        """A stream that ends well ends with one Finish, which says the usage."""
        for scenario in WHOLE:
            items = await items_of(stage.provider, stage.call(scenario))
            ends = [item for item in items if isinstance(item, Finish)]
            assert ends == items[-1:], scenario
            assert ends[0].usage is not None
            assert ends[0].usage.output_tokens is not None

    async def test_finish_reasons(self, stage: Stage) -> None:
        """Each end has its own word."""
        expected = {"text": "stop", "reasoning": "stop", "tools": "tool_calls", "length": "length"}
        for scenario in WHOLE:
            last = (await items_of(stage.provider, stage.call(scenario)))[-1]
            assert isinstance(last, Finish)
            assert last.reason == expected[scenario]

    async def test_blocks_are_dense(self, stage: Stage) -> None:
        """Blocks are numbered 0, 1, 2 … in the order in which they first say something."""
        for scenario in WHOLE:
            events = content(await items_of(stage.provider, stage.call(scenario)))
            first_seen = list(dict.fromkeys(event.block for event in events))
            assert first_seen == list(range(len(first_seen))), scenario
            assert first_seen

    async def test_reasoning_and_text_are_told_apart(self, stage: Stage) -> None:
        """Reasoning comes in blocks of its own."""
        events = content(await items_of(stage.provider, stage.call("reasoning")))
        thoughts = {event.block for event in events if isinstance(event, ReasoningDelta)}
        texts = {event.block for event in events if isinstance(event, TextDelta)}
        assert thoughts
        assert texts
        assert not thoughts & texts

    async def test_tool_calls_are_whole(self, stage: Stage) -> None:
        """Started, then fragments, then completed with the same id, block and the fragments' whole, valid JSON."""
        events = content(await items_of(stage.provider, stage.call("tools")))
        done = [event for event in events if isinstance(event, ToolCallCompleted)]
        assert done
        for call in done:
            mine = [event for event in events if event.block == call.block]
            assert isinstance(mine[0], ToolCallStarted)
            assert (mine[0].call_id, mine[0].name) == (call.call_id, call.name)
            assert mine[-1] == call
            fragments = "".join(event.arguments for event in mine[1:-1] if isinstance(event, ToolCallDelta))
            assert fragments in (call.arguments, "")
            json.loads(call.arguments)

    async def test_failures_are_provider_errors(self, stage: Stage) -> None:
        """Whatever goes wrong is a ProviderError with its code, and no Finish comes before it."""
        for scenario in FAILURES.keys() - stage.cannot:
            seen, error = await failure_of(stage.provider_for(scenario), stage.call(scenario))
            assert (error.code, error.can_retry) == FAILURES[scenario], scenario
            assert not [item for item in seen if isinstance(item, Finish)]

    async def test_a_truncated_stream_keeps_what_came(self, stage: Stage) -> None:
        """What came before the break was yielded."""
        seen, _ = await failure_of(stage.provider, stage.call("truncated"))
        assert text_of(seen) != ""

    async def test_retry_after_is_passed_on(self, stage: Stage) -> None:
        """Seconds after which the provider wants to be asked again."""
        _, error = await failure_of(stage.provider, stage.call("rate limited"))
        assert error.retry_after_s == 2.5
        assert error.status == 429

    async def test_calls_side_by_side_do_not_mix(self, stage: Stage) -> None:
        """Two answers at once are two answers."""
        calls = [stage.call("text"), stage.call("text")]
        both = await asyncio.gather(*(items_of(stage.provider, call) for call in calls))
        assert both[0] == both[1]


class SocketContract(ProviderContract):
    """What a provider that speaks over a network owes besides."""

    async def test_closing_the_generator_closes_the_socket(self, stage: Stage) -> None:
        """Closing the generator closes the provider's socket."""
        async with aclosing(stage.provider.stream(stage.call("stalls"))) as stream:
            async for item in stream:
                if isinstance(item, TextDelta):
                    break
            assert stage.live() == 1
        await wait_until(lambda: stage.live() == 0, timeout_s=2)

    async def test_cancelling_the_task_closes_the_socket(self, stage: Stage) -> None:
        """Cancelling the task that iterates closes the provider's socket."""
        reached = asyncio.Event()

        async def read() -> None:
            async for item in stage.provider.stream(stage.call("stalls")):
                if isinstance(item, TextDelta):
                    reached.set()

        task = asyncio.get_running_loop().create_task(read())
        await reached.wait()
        assert stage.live() == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await wait_until(lambda: stage.live() == 0, timeout_s=2)

    async def test_cancelling_before_the_first_token_closes_the_socket(self, stage: Stage) -> None:
        """Also while the provider has not even answered."""
        task = asyncio.get_running_loop().create_task(items_of(stage.provider, stage.call("silent")))
        await wait_until(lambda: stage.live() == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await wait_until(lambda: stage.live() == 0, timeout_s=2)


class Stage(ABC):
    """Stages scenarios for one provider."""

    provider: Provider
    cannot: frozenset[Scenario] = frozenset()
    """Failures that can't happen to this provider."""

    @abstractmethod
    def call(self, scenario: Scenario) -> Call:
        """Prepare the scenario, once, and give the call that meets it."""

    def live(self) -> int:
        """Sockets open to the upstream."""
        return 0

    def provider_for(self, scenario: Scenario) -> Provider:
        """The provider to call."""
        return self.provider
