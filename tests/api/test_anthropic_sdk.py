"""Anthropic's own SDK against a node: what its helpers do by themselves, beyond one request and its answer."""

from __future__ import annotations

from typing import Any, cast

import pytest
from anthropic import AsyncAnthropic, BadRequestError, beta_async_tool

from broker.events import Completed, Failed, Started, TextDelta, ToolCallCompleted, ToolCallStarted
from broker.values import ErrorInfo
from tests.api.conftest import StartNode
from tests.api.fake_door import FakeDoor

STARTED = Started(1, "restart", "demo", "demo-1")
ASK: dict[str, Any] = {
    "model": "demo/demo-1",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
}


async def test_the_tool_runner_goes_on_without_a_thread(start_node: StartNode, door: FakeDoor) -> None:
    """By default it has the server keep the conversation, and sends all of it where it is told that none is kept."""

    @beta_async_tool
    async def weather(city: str) -> str:
        """The weather in a city."""
        door.says = [STARTED, TextDelta(0, f"Sunny in {city}."), Completed("stop")]
        return "sunny"

    node = await start_node()
    door.says = [
        STARTED,
        ToolCallStarted(0, "toolu_1", "weather"),
        ToolCallCompleted(0, "toolu_1", "weather", '{"city":"Paris"}'),
        Completed("tool_calls"),
    ]
    async with AsyncAnthropic(base_url=f"http://127.0.0.1:{node.port}", api_key="k", max_retries=0) as sdk:
        runner = cast("Any", sdk.beta.messages.tool_runner(tools=[weather], **ASK))
        said: list[dict[str, Any]] = [message.content[-1].to_dict() async for message in runner]
    assert [block["type"] for block in said] == ["tool_use", "text"]
    assert said[-1]["text"] == "Sunny in Paris."
    assert len(door.logs) == 2


async def test_an_error_names_its_generation(start_node: StartNode, door: FakeDoor) -> None:
    """As a request id: what somebody who asks for help has at hand."""
    node = await start_node()
    door.says = [STARTED, Failed(ErrorInfo("provider_rejected", "no"))]
    async with AsyncAnthropic(base_url=f"http://127.0.0.1:{node.port}", api_key="k", max_retries=0) as sdk:
        with pytest.raises(BadRequestError) as caught:
            await sdk.messages.create(**ASK)
    assert [caught.value.request_id] == list(door.logs)


async def test_betas_say_nothing_to_other_models(start_node: StartNode, door: FakeDoor) -> None:
    """And that is said; Anthropic's get them."""
    node = await start_node()
    door.says = [STARTED, TextDelta(0, "Hi"), Completed("stop")]
    async with AsyncAnthropic(base_url=f"http://127.0.0.1:{node.port}", api_key="k", max_retries=0) as sdk:
        answer = cast("Any", await sdk.beta.messages.with_raw_response.create(**ASK, betas=["context-1m-2025-08-07"]))
    assert answer.headers["x-rejoinder-ignored"] == "anthropic-beta"
