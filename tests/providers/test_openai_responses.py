"""OpenAI's Responses API on a real socket: the contract, the goldens, what is sent, and answers that go on alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from broker.errors import ProviderError
from broker.events import (
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from tests.providers.contract import Scenario, SocketContract, Stage, content, failure_of, items_of, make_call, text_of
from tests.support.upstream import Reply, Upstream, anthropic_frames, golden
from worker.providers.base import BackgroundProvider, Call, Finish, Provider, Underway, UsageUpdate
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
            ReasoningDelta(0, "thin"), ReasoningDelta(0, "king"), TextDelta(1, "Hel"), TextDelta(1, "lo"),
            COUNTED, WHOLE,
        ]),
        ("rawreasoning_text", [ReasoningDelta(0, "hmm"), TextDelta(1, "Hel"), TextDelta(1, "lo"), COUNTED, WHOLE]),
        ("refusal", [RefusalDelta(0, "No."), COUNTED, Finish("refusal", "completed", None, THREE_AND_TWO)]),
        ("incomplete", [
            TextDelta(0, "Hel"), TextDelta(0, "lo"), COUNTED,
            Finish("length", "max_output_tokens", None, THREE_AND_TWO),
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


def in_background(**fields: Any) -> Call:
    """A call for an answer that goes on without us."""
    return make_call(provider_options={"background": True}, **fields)


async def test_what_is_sent(ask: Ask, upstream: Upstream) -> None:
    """The key, the path and the body; never our metadata."""
    await items_of(ask(REPLIES["text"]), make_call("gpt-4o", metadata={"secret": "mine"}, max_output_tokens=5))
    asked = upstream.asked[0]
    assert (asked.path, asked.headers["authorization"]) == ("/v1/responses", f"Bearer {KEY}")
    assert asked.body == {
        "model": "gpt-4o",
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}],
        "stream": True,
        "store": False,
        "max_output_tokens": 5,
    }


async def test_reasoning_comes_back_to_its_own(ask: Ask, upstream: Upstream) -> None:
    """A provider of the file has a name of its own, and only its own thoughts go back to it."""
    thought = {"type": "reasoning", "signature": "c2ln", "provider": "mine"}
    messages = [{"role": "assistant", "content": [thought]}, {"role": "user", "content": "And?"}]
    for name in ("mine", "other"):
        await items_of(ask(REPLIES["text"], name=name), make_call(messages=messages))
    kinds = [[item["type"] for item in asked.body["input"]] for asked in upstream.asked]
    assert kinds == [["reasoning", "message"], ["message"]]


async def test_one_connection_serves_call_after_call(ask: Ask, upstream: Upstream) -> None:
    """A stream that was read to its end gives its connection back."""
    provider = ask(REPLIES["text"], REPLIES["text"])
    for _ in range(2):
        assert text_of(await items_of(provider, make_call())) == "Hello"
    assert (upstream.opened, len(upstream.asked)) == (1, 2)


async def test_a_line_kept_open_behind_the_end_is_not_waited_for(ask: Ask) -> None:
    """The answer is whole with its own end, whatever the socket does."""
    items = await asyncio.wait_for(items_of(ask(Reply(frames("text"), "stall")), make_call()), 3)
    assert items[-1] == WHOLE


async def test_bytes_dribble_in(ask: Ask) -> None:
    """Where the network cuts makes no difference, nor does an end mark of other wires."""
    reply = Reply((*frames("text"), "data: [DONE]\n\n"), bite=7)
    assert text_of(await items_of(ask(reply), make_call())) == "Hello"
    marked = Reply((*frames("text", 6), "data: [DONE]\n\n", *frames("text")[6:]))
    assert (await items_of(ask(marked), make_call()))[-1] == WHOLE


async def test_a_background_answer_says_its_id_first(ask: Ask) -> None:
    """Before any token, and once more when there is nothing left to listen to."""
    provider = ask(Reply(frames("text_background")), background=True)
    assert isinstance(provider, BackgroundProvider)
    items = await items_of(provider, make_call())
    assert items[0] == Underway("resp_1")
    assert items[-2:] == [Underway(""), WHOLE]
    assert not any(isinstance(item, Underway) for item in await items_of(ask(REPLIES["text"]), make_call()))


async def test_listening_again(ask: Ask, upstream: Upstream) -> None:
    """Nothing is asked for: the same answer is read from its beginning, and only what is new is passed on."""
    call = Call(in_background().request, "m1", [TextDelta(0, "Hell")], "resp_1")
    assert content(await items_of(ask(REPLIES["text"]), call)) == [TextDelta(0, "o")]
    assert (upstream.asked[0].method, upstream.asked[0].path) == ("GET", "/v1/responses/resp_1?stream=true")


async def test_an_id_is_no_path(ask: Ask, upstream: Upstream) -> None:
    """Whatever an upstream calls its answers, nothing else is asked for."""
    await items_of(ask(REPLIES["text"]), Call(in_background().request, "m1", [], "../x?y"))
    assert upstream.asked[0].path == "/v1/responses/..%2Fx%3Fy?stream=true"


GONE = Reply(status=404, body='{"error":{"message":"not found"}}')
UNSTREAMABLE = Reply(status=400, body='{"error":{"message":"can not be streamed"}}')
RESOURCE = json.loads(golden("responses_text")[-1])["response"]


@pytest.mark.parametrize(
    ("replies", "code"),
    [
        ([GONE], "provider_forgot"),
        ([REPLIES["text"]], "provider_forgot"),
        ([UNSTREAMABLE, GONE], "provider_forgot"),
        ([UNSTREAMABLE, Reply(status=201, body='{"status":"in_progress"}')], "provider_forgot"),
        ([UNSTREAMABLE, Reply(status=503)], "provider_overloaded"),
        ([Reply(status=429)], "provider_rate_limited"),
    ],
)
async def test_an_answer_that_can_not_be_listened_to(ask: Ask, replies: list[Reply], code: str) -> None:
    """Unknown, or another one than the log holds: only asking anew helps. A busy provider is asked again later."""
    _, error = await failure_of(ask(*replies), Call(in_background().request, "m1", [TextDelta(0, "Help")], "resp_1"))
    assert error.code == code


async def test_what_can_be_streamed_no_longer_is_retrieved(ask: Ask) -> None:
    """The whole says what the stream said."""
    provider = ask(UNSTREAMABLE, Reply(status=201, body=json.dumps(RESOURCE)))
    items = await items_of(provider, Call(in_background().request, "m1", [TextDelta(0, "Hell")], "resp_1"))
    assert items == [TextDelta(0, "o"), COUNTED, Underway(""), WHOLE]


async def test_abandoning(ask: Ask, upstream: Upstream) -> None:
    """An answer is stopped; one that has ended, or that nobody knows, need not be."""
    provider = ask(Reply(status=201, body="{}"), UNSTREAMABLE, GONE, Reply(status=503))
    for _ in range(3):
        await provider.abandon("resp_1")
    with pytest.raises(ProviderError) as caught:
        await provider.abandon("resp_1")
    assert (caught.value.code, caught.value.can_retry) == ("provider_overloaded", True)
    assert {(asked.method, asked.path) for asked in upstream.asked} == {("POST", "/v1/responses/resp_1/cancel")}


async def test_keys_never_show(ask: Ask) -> None:
    """What the provider says about a key is said without the key."""
    body = json.dumps({"error": {"message": f"bad key {KEY}", "code": "invalid_api_key"}})
    _, error = await failure_of(ask(Reply(status=401, body=body)), make_call())
    assert (error.code, error.message) == ("provider_auth", "openai-responses: bad key [key]")
    assert error.__cause__ is None
