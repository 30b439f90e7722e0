"""OpenAI's Responses API on a real socket: the contract, the goldens, what is sent, and answers that go on alone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from broker.events import (
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from tests.providers.contract import Scenario, SocketContract, Stage, failure_of, items_of, make_call, text_of
from tests.support.upstream import Reply, Upstream, anthropic_frames, golden
from worker.providers.base import Call, Finish, Provider, UsageUpdate
from worker.providers.openai_responses import OpenAIResponsesProvider

KEY = "sk-secret-of-this-test"
BUSY = json.dumps({"error": {"message": f"busy, key {KEY}", "type": "requests", "code": "rate_limit_exceeded"}})


def frames(name: str, stop: int | None = None) -> tuple[str, ...]:
    """A golden as this API frames it: each event under its type."""
    return anthropic_frames(golden(f"responses_{name}")[:stop])


REPLIES: dict[str, Reply] = {
    "text": Reply(frames("text")),
    "reasoning": Reply(frames("reasoning_text")),
    "tools": Reply(frames("function_call")),
    "length": Reply(frames("incomplete")),
    "stalls": Reply(frames("text", 5), "stall"),
    "silent": Reply(then="silence"),
    "truncated": Reply(frames("text", 6)),
    "cut": Reply(frames("text", 6), "cut"),
    "rate limited": Reply(status=429, body=BUSY, headers={"retry-after": "2.5"}),
    "overloaded": Reply(status=503, body="<html>503</html>"),
    "no key": Reply(),
    "nonsense": Reply(("data: {not json\n\n",)),
}


def openai(upstream: Upstream, name: str = "openai-responses", **options: Any) -> OpenAIResponsesProvider:
    """A provider that asks the stub."""
    given: dict[str, Any] = {"api_key": KEY, "connect_s": 5, "stall_s": 5, "base_url": f"{upstream.url}/v1"} | options
    return OpenAIResponsesProvider(name, **given)


class ResponsesStage(Stage):
    """Scenarios are replies of the stub."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.provider = openai(upstream)
        self._keyless = openai(upstream, api_key="")

    def call(self, scenario: Scenario) -> Call:
        """Queue the scenario's reply."""
        if scenario != "no key":
            self.upstream.replies.append(REPLIES[scenario])
        return make_call()

    def live(self) -> int:
        """Sockets at the stub."""
        return self.upstream.live

    def provider_for(self, scenario: Scenario) -> Provider:
        """One without a key where that is the scenario."""
        return self._keyless if scenario == "no key" else self.provider


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """A stub of this test."""
    async with Upstream() as stub:
        yield stub


Ask = Callable[..., OpenAIResponsesProvider]


@pytest.fixture
async def ask(upstream: Upstream) -> AsyncIterator[Ask]:
    """Makes providers that are closed with the test."""
    made: list[OpenAIResponsesProvider] = []

    def make(*replies: Reply, name: str = "openai-responses", **options: Any) -> OpenAIResponsesProvider:
        upstream.replies.extend(replies)
        made.append(openai(upstream, name, **options))
        return made[-1]

    yield make
    for provider in made:
        await provider.aclose()


class TestContract(SocketContract):
    """The Responses API as a provider."""

    @pytest.fixture
    async def stage(self, upstream: Upstream) -> AsyncIterator[Stage]:
        """The stub's stage."""
        stage = ResponsesStage(upstream)
        yield stage
        await stage.provider.aclose()


THREE_AND_TWO = Usage(
    input_tokens=3, output_tokens=2, cache_read_input_tokens=0, cache_creation_input_tokens=0, reasoning_tokens=0
)
COUNTED = UsageUpdate(THREE_AND_TWO)
WHOLE = Finish("stop", "completed", None, THREE_AND_TWO)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("text", [TextDelta(0, "Hel"), TextDelta(0, "lo"), COUNTED, WHOLE]),
        ("reasoning_text", [
            ReasoningDelta(0, "thin"), ReasoningDelta(0, "king"), TextDelta(1, "Hel"), TextDelta(1, "lo"), COUNTED, WHOLE,
        ]),
        ("rawreasoning_text", [ReasoningDelta(0, "hmm"), TextDelta(1, "Hel"), TextDelta(1, "lo"), COUNTED, WHOLE]),
        ("refusal", [RefusalDelta(0, "No."), COUNTED, Finish("refusal", "completed", None, THREE_AND_TWO)]),
        ("incomplete", [
            TextDelta(0, "Hel"), TextDelta(0, "lo"), COUNTED, Finish("length", "max_output_tokens", None, THREE_AND_TWO),
        ]),
        ("function_call", [
            ToolCallStarted(0, "call_1", "get_weather"),
            ToolCallDelta(0, "call_1", '{"city":'),
            ToolCallDelta(0, "call_1", '"Paris"}'),
            ToolCallCompleted(0, "call_1", "get_weather", '{"city":"Paris"}'),
            COUNTED,
            Finish("tool_calls", "completed", None, THREE_AND_TWO),
        ]),
    ],
)  # fmt: skip
async def test_goldens(ask: Ask, name: str, expected: list[Any]) -> None:
    """What real clients accept is read as what it says."""
    assert await items_of(ask(Reply(frames(name))), make_call()) == expected


@pytest.mark.parametrize("name", ["failed", "error", "error_both", "error_nested"])
async def test_golden_errors(ask: Ask, name: str) -> None:
    """In whatever shape the failure comes, what came before stays."""
    seen, error = await failure_of(ask(Reply(frames(name))), make_call())
    assert text_of(seen) == "Hello"
    assert (error.code, error.can_retry, error.message) == ("provider_error", True, "openai-responses: upstream died")
