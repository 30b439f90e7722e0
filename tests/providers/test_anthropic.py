"""Anthropic's SDK against a real socket: the contract, the golden events, what is sent, and what is refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from broker.events import ReasoningDelta, TextDelta, ToolCallCompleted, ToolCallDelta, ToolCallStarted, Usage
from tests.providers.contract import Scenario, SocketContract, Stage, content, failure_of, items_of, make_call, text_of
from tests.support.upstream import Reply, Upstream, anthropic_frames, golden
from worker.providers.anthropic import AnthropicProvider
from worker.providers.base import Call, Finish, Provider, UsageUpdate
from worker.providers.failures import READ_MARGIN_S

KEY = "sk-ant-secret-of-this-test"
BUSY = json.dumps({"type": "error", "error": {"type": "rate_limit_error", "message": f"busy, key {KEY}"}})
OVERLOADED = json.dumps({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
REPLIES: dict[str, Reply] = {
    "text": Reply(anthropic_frames(golden("anthropic_text"))),
    "reasoning": Reply(anthropic_frames(golden("anthropic_thinking_text"))),
    "tools": Reply(anthropic_frames(golden("anthropic_tool_use"))),
    "length": Reply(anthropic_frames(golden("anthropic_max_tokens"))),
    "stalls": Reply(anthropic_frames(golden("anthropic_text")[:4]), "stall"),
    "silent": Reply(then="silence"),
    "truncated": Reply(anthropic_frames(golden("anthropic_text")[:-1])),
    "cut": Reply(anthropic_frames(golden("anthropic_text")[:4]), "cut"),
    "rate limited": Reply(status=429, body=BUSY, headers={"retry-after": "2.5"}),
    "overloaded": Reply(status=529, body=OVERLOADED),
    "no key": Reply(),
    "nonsense": Reply(("event: message_start\ndata: {not json\n\n",)),
}


def anthropic(upstream: Upstream, **options: Any) -> AnthropicProvider:
    """A provider that asks the stub."""
    given: dict[str, Any] = {"api_key": KEY, "connect_s": 5, "stall_s": 5, "base_url": upstream.url} | options
    return AnthropicProvider("anthropic", **given)


class AnthropicStage(Stage):
    """Scenarios are replies of the stub."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.provider = anthropic(upstream)
        self._keyless = anthropic(upstream, api_key="")

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


Ask = Callable[..., AnthropicProvider]


@pytest.fixture
async def ask(upstream: Upstream) -> AsyncIterator[Ask]:
    """Makes providers that are closed with the test."""
    made: list[AnthropicProvider] = []

    def make(*replies: Reply, **options: Any) -> AnthropicProvider:
        upstream.replies.extend(replies)
        made.append(anthropic(upstream, **options))
        return made[-1]

    yield make
    for provider in made:
        await provider.aclose()


class TestContract(SocketContract):
    """Anthropic as a provider."""

    @pytest.fixture
    async def stage(self, upstream: Upstream) -> AsyncIterator[Stage]:
        """The stub's stage."""
        stage = AnthropicStage(upstream)
        yield stage
        await stage.provider.aclose()


def replay(name: str) -> Reply:
    """A golden sequence as Anthropic frames it."""
    return Reply(anthropic_frames(golden(name)))


THREE_IN = UsageUpdate(Usage(input_tokens=3, output_tokens=1))
FIVE_OUT = Usage(input_tokens=3, output_tokens=5)


async def test_golden_text(ask: Ask) -> None:
    """Text; pings say nothing; counts come at the start and, cumulative, at the end."""
    items = await items_of(ask(replay("anthropic_text")), make_call())
    assert items == [
        THREE_IN,
        TextDelta(0, "Hel"),
        TextDelta(0, "lo"),
        UsageUpdate(FIVE_OUT),
        Finish("stop", "end_turn", None, FIVE_OUT),
    ]


async def test_golden_thinking(ask: Ask) -> None:
    """Thinking with its signature, whole, after it; then text in a block of its own."""
    items = await items_of(ask(replay("anthropic_thinking_text")), make_call())
    assert content(items) == [
        ReasoningDelta(0, "thin"),
        ReasoningDelta(0, "king"),
        ReasoningDelta(0, "", signature="c2ln"),
        TextDelta(1, "Hel"),
        TextDelta(1, "lo"),
    ]


async def test_golden_redacted_thinking(ask: Ask) -> None:
    """Redacted thinking is passed on to the byte."""
    items = await items_of(ask(replay("anthropic_redacted_thinking")), make_call())
    assert content(items)[:2] == [ReasoningDelta(0, "", opaque="xx"), TextDelta(1, "Hel")]


async def test_golden_tool_use(ask: Ask) -> None:
    """A tool call after text; the empty first fragment says nothing."""
    items = await items_of(ask(replay("anthropic_tool_use")), make_call())
    assert content(items)[2:] == [
        ToolCallStarted(1, "toolu_1", "get_weather"),
        ToolCallDelta(1, "toolu_1", '{"city":'),
        ToolCallDelta(1, "toolu_1", '"Paris"}'),
        ToolCallCompleted(1, "toolu_1", "get_weather", '{"city":"Paris"}'),
    ]
    assert items[-1] == Finish("tool_calls", "tool_use", None, Usage(input_tokens=3, output_tokens=9))


@pytest.mark.parametrize(
    ("name", "reason", "word"),
    [("anthropic_refusal", "refusal", "refusal"), ("anthropic_max_tokens", "length", "max_tokens")],
)
async def test_golden_ends(ask: Ask, name: str, reason: str, word: str) -> None:
    """The other ends."""
    last = (await items_of(ask(replay(name)), make_call()))[-1]
    assert isinstance(last, Finish)
    assert (last.reason, last.provider_reason) == (reason, word)


async def test_golden_error_in_the_stream(ask: Ask) -> None:
    """``overloaded_error`` in a 200 stream fails the call; what came before stays."""
    seen, error = await failure_of(ask(replay("anthropic_error_mid")), make_call())
    assert seen == [THREE_IN, TextDelta(0, "Hel")]
    assert (error.code, error.can_retry, error.status) == ("provider_overloaded", True, None)
    assert error.message == "anthropic: Overloaded"


async def test_bytes_dribble_in(ask: Ask) -> None:
    """Where the network cuts makes no difference."""
    reply = Reply(anthropic_frames(golden("anthropic_thinking_text")), bite=1)
    assert text_of(await items_of(ask(reply), make_call())) == "Hello"


async def test_frames_without_a_name_count(ask: Ask) -> None:
    """The SDK passes over them, which would leave a hole in the answer."""
    lines = golden("anthropic_text")
    reply = Reply(tuple(f"data: {line}\n\n" for line in lines))
    assert text_of(await items_of(ask(reply), make_call())) == "Hello"


async def test_one_connection_serves_call_after_call(ask: Ask, upstream: Upstream) -> None:
    """A stream that was read to its end gives its connection back."""
    provider = ask(replay("anthropic_text"), replay("anthropic_text"))
    for _ in range(2):
        assert text_of(await items_of(provider, make_call())) == "Hello"
    assert (upstream.opened, len(upstream.asked)) == (1, 2)


async def test_what_is_sent(ask: Ask, upstream: Upstream) -> None:
    """The key, the path and the body; never our metadata."""
    call = make_call("claude-x", metadata={"secret": "mine"}, temperature=0.5, provider_options={"top_k": 4})
    await items_of(ask(replay("anthropic_text")), call)
    asked = upstream.asked[0]
    assert asked.path == "/v1/messages"
    assert KEY in (asked.headers.get("authorization", "") + asked.headers.get("x-api-key", ""))
    assert asked.headers["anthropic-version"]
    assert asked.body == {
        "model": "claude-x",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
        "stream": True,
        "max_tokens": 8192,
        "temperature": 0.5,
        "top_k": 4,
    }


async def test_silence_is_not_for_ever(ask: Ask) -> None:
    """Should nobody judge the silence sooner, the socket's own limit does."""
    provider = ask(REPLIES["stalls"], stall_s=0.1 - READ_MARGIN_S)
    seen, error = await failure_of(provider, make_call())
    assert (text_of(seen), error.code, error.can_retry) == ("Hel", "provider_timeout", True)


async def test_no_retries_of_its_own(ask: Ask, upstream: Upstream) -> None:
    """One call is one request: who retries is the worker, which knows whether a token has gone out."""
    _, error = await failure_of(ask(Reply(status=500)), make_call())
    assert (error.code, error.can_retry, error.status) == ("provider_error", True, 500)
    assert len(upstream.asked) == 1


async def test_nobody_listens(ask: Ask) -> None:
    """A refused connection may be tried again."""
    _, error = await failure_of(ask(base_url="http://127.0.0.1:1"), make_call())
    assert (error.code, error.can_retry) == ("provider_unavailable", True)


@pytest.mark.parametrize("base_url", ["ftp://127.0.0.1", "no url", "http://host:port"])
async def test_an_unusable_base_url(ask: Ask, base_url: str) -> None:
    """A base URL that can't be asked is an error like any other, and no retry helps."""
    _, error = await failure_of(ask(base_url=base_url), make_call())
    assert (error.code, error.can_retry) == ("provider_rejected", False)


async def test_keys_never_show(ask: Ask) -> None:
    """What the provider says about a key is said without the key, also along the chain of causes."""
    body = json.dumps({"type": "error", "error": {"type": "authentication_error", "message": f"invalid {KEY}"}})
    _, error = await failure_of(ask(Reply(status=401, body=body)), make_call())
    assert (error.code, error.message) == ("provider_auth", "anthropic: invalid [key]")
    assert error.__cause__ is None
    assert error.__suppress_context__


async def test_a_deprecated_model_is_asked_without_ado(ask: Ask) -> None:
    """The SDK's warnings are for people who write the name into code; here they would fail the test."""
    assert text_of(await items_of(ask(replay("anthropic_text")), make_call("claude-sonnet-4-5"))) == "Hello"


async def test_continuing(ask: Ask, upstream: Upstream) -> None:
    """The beginning goes along as the assistant's, without the white space that this API refuses at its end."""
    events = [
        '{"type":"message_start","message":{"usage":{"input_tokens":3,"output_tokens":1}}}',
        '{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}',
        '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" \\nwor"}}',
        '{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"ld"}}',
        '{"type":"content_block_stop","index":0}',
        '{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}',
        '{"type":"message_stop"}',
    ]
    call = make_call("claude-sonnet-4-5", prefix=[TextDelta(0, "Hel"), TextDelta(0, "lo ")])
    items = await items_of(ask(Reply(anthropic_frames(events))), call)
    assert upstream.asked[0].body["messages"][-1] == {
        "role": "assistant",
        "content": [{"type": "text", "text": "Hello"}],
    }
    assert content(items) == [TextDelta(0, "\nwor"), TextDelta(0, "ld")]


async def test_a_refused_prefix(ask: Ask) -> None:
    """Newer models refuse: the worker can start over."""
    words = "This model does not support assistant message prefill. The conversation must end with a user message."
    body = json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": words}})
    _, error = await failure_of(ask(Reply(status=400, body=body)), make_call(prefix=[TextDelta(0, "Hel")]))
    assert (error.code, error.can_retry) == ("prefill_refused", False)


@pytest.mark.parametrize(
    ("model", "can"),
    [
        ("claude-3-5-haiku-latest", True),
        ("claude-opus-4-1-20250805", True),
        ("claude-haiku-4-5", True),
        ("claude-opus-4-6", False),
        ("claude-sonnet-5", False),
        ("something-new", False),
    ],
)
async def test_which_models_continue(ask: Ask, model: str, *, can: bool) -> None:
    """Those that are listed, and no others; none is shown as ours to offer."""
    assert ask().models() == []
    assert ask().can_continue(model) is can
