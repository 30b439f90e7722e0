"""The failure matrix of PyPI's ``llmock``: somebody else's idea of how both vendors fail, over a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from llmock.scenarios import Behavior, Fail, Match, Reply, StreamFault, ToolCall, ToolFault
from llmock.testing import LLMockServer

from broker.events import ToolCallCompleted
from tests.providers.contract import content, failure_of, items_of, make_call, text_of
from worker.providers.anthropic import AnthropicProvider
from worker.providers.base import Finish, Provider
from worker.providers.openai_chat import OpenAIChatProvider

TOOL = {
    "type": "function",
    "function": {"name": "lookup", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}},
}
CALLED = Reply(tool_calls=(ToolCall("lookup", {"q": "é"}),))


@pytest.fixture(scope="module")
def server() -> Iterator[LLMockServer]:
    """One server for these tests; what is scripted is used up by each."""
    with LLMockServer() as running:
        yield running


@pytest.fixture(params=["openai", "anthropic"])
async def provider(server: LLMockServer, request: pytest.FixtureRequest) -> AsyncIterator[Provider]:
    """Both vendors in turn."""
    name: str = request.param
    kind = OpenAIChatProvider if name == "openai" else AnthropicProvider
    made = kind(name, api_key="key-of-llmock", base_url=server.base_url(name), connect_s=5, stall_s=5)
    server.state.reset()
    yield made
    await made.aclose()


async def test_text(server: LLMockServer, provider: Provider) -> None:
    """A whole answer."""
    server.state.scenarios.add(Reply(text="Hello from é."))
    items = await items_of(provider, make_call())
    assert text_of(items) == "Hello from é."
    assert isinstance(items[-1], Finish)
    assert items[-1].usage is not None


async def test_tool_call(server: LLMockServer, provider: Provider) -> None:
    """A whole tool call."""
    server.state.scenarios.add(CALLED)
    items = await items_of(provider, make_call(tools=[TOOL]))
    done = [event for event in content(items) if isinstance(event, ToolCallCompleted)]
    assert [call.name for call in done] == ["lookup"]
    assert isinstance(items[-1], Finish)
    assert items[-1].reason == "tool_calls"


@pytest.mark.parametrize(
    ("behavior", "code", "retryable"),
    [
        (Fail(400), "provider_rejected", False),
        (Fail(401), "provider_auth", False),
        (Fail(403), "provider_auth", False),
        (Fail(404), "provider_rejected", False),
        (Fail(429, retry_after=3), "provider_rate_limited", True),
        (Fail(500), "provider_error", True),
        (Fail(503), "provider_overloaded", True),
        (Fail(529), "provider_overloaded", True),
        (StreamFault("disconnect", after_chunks=2, match=Match(stream=True)), "provider_truncated", True),
        (StreamFault("truncate", after_chunks=2, match=Match(stream=True)), "provider_truncated", True),
        (StreamFault("malformed", after_chunks=2, match=Match(stream=True)), "provider_malformed", True),
    ],
    ids=lambda value: f"{value.status}" if isinstance(value, Fail) else getattr(value, "kind", ""),
)
async def test_failures(
    server: LLMockServer, provider: Provider, behavior: Behavior, code: str, *, retryable: bool
) -> None:
    """Each failure is told by its code, and no answer is made of half of one."""
    server.state.scenarios.add(behavior)
    seen, error = await failure_of(provider, make_call())
    assert (error.code, error.can_retry) == (code, retryable)
    assert not [item for item in seen if isinstance(item, Finish)]
    if isinstance(behavior, Fail):
        assert error.status == behavior.status
        assert error.retry_after_s == (behavior.retry_after or error.retry_after_s)


async def test_broken_arguments(server: LLMockServer, provider: Provider) -> None:
    """A tool call that is not JSON is never completed."""
    server.state.scenarios.add(CALLED, ToolFault("malformed_arguments"))
    seen, error = await failure_of(provider, make_call(tools=[TOOL]))
    assert error.code == "provider_malformed"
    assert not [item for item in seen if isinstance(item, ToolCallCompleted)]
