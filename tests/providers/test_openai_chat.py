"""OpenAI's SDK against a real socket: the contract, the golden chunks, what is sent, and what is refused."""

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
from tests.providers.contract import Scenario, SocketContract, Stage, content, failure_of, items_of, make_call, text_of
from tests.support.upstream import Reply, Upstream, chat_frames, golden
from tests.support.waiting import wait_until
from worker.providers.base import Call, Finish, Provider
from worker.providers.failures import READ_MARGIN_S
from worker.providers.openai_chat import OpenAIChatProvider

KEY = "sk-secret-of-this-test"
USAGE = '{"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}'
BUSY = json.dumps({"error": {"message": f"busy, key {KEY}", "type": "requests", "code": "rate_limit_exceeded"}})
REPLIES: dict[str, Reply] = {
    "text": Reply(chat_frames(golden("chat_text_usage"))),
    "reasoning": Reply(chat_frames([*golden("chat_reasoning_content")[:-1], USAGE])),
    "tools": Reply(chat_frames(golden("chat_tools"))),
    "length": Reply(chat_frames([*golden("chat_length")[:-1], USAGE])),
    "stalls": Reply(chat_frames(golden("chat_text")[:2]), "stall"),
    "silent": Reply(then="silence"),
    "truncated": Reply(chat_frames(golden("chat_text")[:3])),
    "cut": Reply(chat_frames(golden("chat_text")[:3]), "cut"),
    "rate limited": Reply(status=429, body=BUSY, headers={"retry-after": "2.5"}),
    "overloaded": Reply(status=503, body="<html>503</html>"),
    "no key": Reply(),
    "nonsense": Reply(("data: {not json\n\n",)),
}


def openai(upstream: Upstream, name: str = "openai", **options: Any) -> OpenAIChatProvider:
    """A provider that asks the stub."""
    given: dict[str, Any] = {"api_key": KEY, "connect_s": 5, "stall_s": 5, "base_url": f"{upstream.url}/v1"} | options
    return OpenAIChatProvider(name, **given)


class OpenAIStage(Stage):
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


@pytest.fixture
async def ask(upstream: Upstream) -> AsyncIterator[Callable[..., OpenAIChatProvider]]:
    """Makes providers that are closed with the test."""
    made: list[OpenAIChatProvider] = []

    def make(*replies: Reply, name: str = "openai", **options: Any) -> OpenAIChatProvider:
        upstream.replies.extend(replies)
        made.append(openai(upstream, name, **options))
        return made[-1]

    yield make
    for provider in made:
        await provider.aclose()


class TestContract(SocketContract):
    """OpenAI as a provider."""

    @pytest.fixture
    async def stage(self, upstream: Upstream) -> AsyncIterator[Stage]:
        """The stub's stage."""
        stage = OpenAIStage(upstream)
        yield stage
        await stage.provider.aclose()


Ask = Callable[..., OpenAIChatProvider]
THREE_AND_TWO = Usage(input_tokens=3, output_tokens=2)


async def test_golden_text(ask: Ask) -> None:
    """Text, then the usage of the last chunk."""
    items = await items_of(ask(Reply(chat_frames(golden("chat_text_usage")))), make_call())
    assert content(items) == [TextDelta(0, "Hel"), TextDelta(0, "lo")]
    assert items[-1] == Finish("stop", "stop", None, THREE_AND_TWO)


async def test_golden_without_usage(ask: Ask) -> None:
    """A server that tells no usage is believed to have told none."""
    items = await items_of(ask(Reply(chat_frames(golden("chat_text")))), make_call())
    assert items == [TextDelta(0, "Hel"), TextDelta(0, "lo"), Finish("stop", "stop")]


async def test_golden_tools(ask: Ask) -> None:
    """Two parallel tool calls, each whole."""
    items = await items_of(ask(Reply(chat_frames(golden("chat_tools")))), make_call())
    assert content(items) == [
        ToolCallStarted(0, "call_1", "get_weather"),
        ToolCallDelta(0, "call_1", '{"city":'),
        ToolCallDelta(0, "call_1", '"Paris"}'),
        ToolCallStarted(1, "call_2", "get_time"),
        ToolCallDelta(1, "call_2", "{}"),
        ToolCallCompleted(0, "call_1", "get_weather", '{"city":"Paris"}'),
        ToolCallCompleted(1, "call_2", "get_time", "{}"),
    ]
    assert items[-1] == Finish("tool_calls", "tool_calls", None, THREE_AND_TWO)


async def test_golden_reasoning(ask: Ask) -> None:
    """``reasoning_content`` is reasoning, in a block of its own."""
    items = await items_of(ask(Reply(chat_frames(golden("chat_reasoning_content")))), make_call())
    assert items == [ReasoningDelta(0, "hm"), TextDelta(1, "Hello"), Finish("stop", "stop")]


async def test_golden_refusal(ask: Ask) -> None:
    """A refusal is no text, and ends as one although the provider says ``stop``."""
    items = await items_of(ask(Reply(chat_frames(golden("chat_refusal")))), make_call())
    assert items == [RefusalDelta(0, "No."), Finish("refusal", "stop")]


async def test_golden_length(ask: Ask) -> None:
    """The limit was reached."""
    items = await items_of(ask(Reply(chat_frames(golden("chat_length")))), make_call())
    assert items == [TextDelta(0, "Hel"), Finish("length", "length")]


async def test_golden_error_in_the_stream(ask: Ask) -> None:
    """An error chunk in a 200 stream fails the call; what came before stays."""
    seen, error = await failure_of(ask(Reply(chat_frames(golden("chat_error")))), make_call())
    assert seen == [TextDelta(0, "Hel")]
    assert (error.code, error.can_retry, error.status) == ("provider_error", True, None)
    assert error.message == "openai: upstream died"


async def test_bytes_dribble_in(ask: Ask) -> None:
    """Where the network cuts makes no difference, also inside a character."""
    line = '{"id":"c","choices":[{"index":0,"delta":{"content":"é—🙂"},"finish_reason":"stop"}]}'
    items = await items_of(ask(Reply(chat_frames([line, "[DONE]"]), bite=1)), make_call())
    assert items == [TextDelta(0, "é—🙂"), Finish("stop", "stop")]


async def test_halves_of_a_character_are_joined(ask: Ask) -> None:
    """An emoji that the server cut into two deltas reaches nobody in halves."""
    lines = [
        '{"id":"c","choices":[{"index":0,"delta":{"content":"a\\ud83e"}}]}',
        '{"id":"c","choices":[{"index":0,"delta":{"content":"\\udd8ab"},"finish_reason":"stop"}]}',
    ]
    items = await items_of(ask(Reply(chat_frames(lines))), make_call())
    assert items == [TextDelta(0, "a"), TextDelta(0, "\U0001f98ab"), Finish("stop", "stop")]


async def test_one_connection_serves_call_after_call(ask: Ask, upstream: Upstream) -> None:
    """A stream that was read to its end gives its connection back."""
    reply = Reply(chat_frames(golden("chat_text")))
    provider = ask(reply, reply)
    for _ in range(2):
        assert text_of(await items_of(provider, make_call())) == "Hello"
    assert (upstream.opened, len(upstream.asked)) == (1, 2)


async def test_closing_the_provider_closes_its_sockets(ask: Ask, upstream: Upstream) -> None:
    """Nothing stays open behind a closed provider; it may be asked again."""
    reply = Reply(chat_frames(golden("chat_text")))
    provider = ask(reply, reply)
    for _ in range(2):
        await items_of(provider, make_call())
        await provider.aclose()
        await wait_until(lambda: upstream.live == 0)
    assert upstream.opened == 2


async def test_what_is_sent(ask: Ask, upstream: Upstream) -> None:
    """The key, the path and the body; never our metadata."""
    call = make_call("gpt-x", metadata={"secret": "mine"}, max_output_tokens=5, provider_options={"seed": 4})
    await items_of(ask(Reply(chat_frames(golden("chat_text")))), call)
    asked = upstream.asked[0]
    assert (asked.path, asked.headers["authorization"]) == ("/v1/chat/completions", f"Bearer {KEY}")
    assert asked.body == {
        "model": "gpt-x",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_completion_tokens": 5,
        "seed": 4,
    }


async def test_a_server_without_keys_gets_none(ask: Ask, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a key nor OpenAI's organisation is sent to somebody else's server, whatever the environment holds."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-openai")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-openai")
    await items_of(ask(Reply(chat_frames(golden("chat_text"))), name="vllm", api_key=None), make_call())
    headers = upstream.asked[0].headers
    assert not {"authorization", "openai-organization", "openai-project"} & headers.keys()


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


async def test_nobody_listens(ask: Ask, upstream: Upstream) -> None:
    """A refused connection may be tried again."""
    _, error = await failure_of(ask(base_url="http://127.0.0.1:1/v1"), make_call())
    assert (error.code, error.can_retry) == ("provider_unavailable", True)
    assert upstream.asked == []


@pytest.mark.parametrize("base_url", ["ftp://127.0.0.1/v1", "no url", "http://host:port/v1"])
async def test_an_unusable_base_url(ask: Ask, base_url: str) -> None:
    """A base URL that can't be asked is an error like any other, and no retry helps."""
    _, error = await failure_of(ask(base_url=base_url), make_call())
    assert (error.code, error.can_retry) == ("provider_rejected", False)


async def test_keys_never_show(ask: Ask) -> None:
    """What the provider says about a key is said without the key, also along the chain of causes."""
    body = json.dumps({"error": {"message": f"bad key {KEY} or sk-other-12345", "code": "invalid_api_key"}})
    _, error = await failure_of(ask(Reply(status=401, body=body)), make_call())
    assert (error.code, error.status) == ("provider_auth", 401)
    assert "bad key [key] or [key]" in error.message
    assert error.__cause__ is None
    assert error.__suppress_context__


async def test_continuing(ask: Ask, upstream: Upstream) -> None:
    """The way of vLLM: the beginning goes along as an unfinished message, and the text goes on in its block."""
    call = make_call(prefix=[TextDelta(0, "He"), TextDelta(0, "l")])
    lines = ['{"id":"c","choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":"stop"}]}']
    provider = ask(Reply(chat_frames(lines)), name="vllm", can_continue=True)
    assert provider.can_continue("m1")
    assert await items_of(provider, call) == [TextDelta(0, "lo"), Finish("stop", "stop")]
    body = upstream.asked[0].body
    assert body["messages"][-1] == {"role": "assistant", "content": "Hel"}
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)


async def test_a_refused_prefix(ask: Ask) -> None:
    """A server that does not know how to continue says so, and the worker can start over."""
    body = json.dumps({"error": {"message": "unknown field continue_final_message"}})
    _, error = await failure_of(ask(Reply(status=400, body=body), name="x"), make_call(prefix=[TextDelta(0, "a")]))
    assert (error.code, error.can_retry) == ("prefill_refused", False)
