"""What applications do with the SDKs beside reading one answer: leave, retry, go on from an answer, use tools."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tests.clients import journeys_py
from tests.clients.clients import CLIENTS, Client, Stage
from tests.clients.judge import complaints
from tests.clients.left import Ask, Left
from tests.clients.outcomes import outcome
from tests.clients.service import Service
from tests.clients.upstream import CALLS, whole
from tests.clients.wire import Exchange, refuse, reset
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.clients, pytest.mark.timeout(90), pytest.mark.asyncio(loop_scope="session")]

_SAYS_RETRIES = [
    client
    for client in CLIENTS.values()
    if client.name.startswith(("openai-", "anthropic-")) and not client.name.endswith("-sync")
]
"""The SDKs that count their retries in ``x-stainless-retry-count``."""


async def _run(stage: Stage, name: str, ask: Ask) -> Left:
    here = journeys_py.JOURNEYS.get(name)
    return await (here(ask) if here is not None else stage.node.run(name, ask))


def _ask(service: Service, model: str = "text") -> Ask:
    return Ask(service.wire.url, f"script/{model}", tools=model == "tools")


@pytest.mark.parametrize(
    "journey",
    [*(name for name in journeys_py.JOURNEYS if "leaves" in name), "openaiLeaves", "anthropicLeaves", "aiLeaves"],
)
async def test_leaving_stops_nothing(journey: str, stage: Stage, service: Service) -> None:
    """The client breaks off after the first text; the answer is finished and kept."""
    service.provider.hold(1)
    left = await _run(stage, journey, _ask(service))
    assert left.text
    service.provider.release()
    record = await service.ended(service.wire.streams[0].header("x-generation-id"))
    assert (record["status"], record["output"]["text"]) == ("completed", whole("text").text)
    assert service.provider.calls == ["text"]


@pytest.mark.parametrize("trouble", [reset, refuse], ids=["reset", "503"])
@pytest.mark.parametrize("client", _SAYS_RETRIES, ids=lambda client: client.name)
async def test_a_retry_joins(client: Client, trouble: Any, stage: Stage, service: Service) -> None:
    """The answer's head is lost on its way; the SDK tries again by itself, and the model is not asked again."""
    service.wire.early.append(trouble)
    left = await client.run(stage, _ask(service))
    assert complaints(left, outcome(client.name, "text"), whole("text")) == [], service.wire.told
    first, second = service.wire.exchanges
    assert second.asked("x-stainless-retry-count") == "1"
    assert second.header("x-generation-id") == first.header("x-generation-id")
    assert service.provider.calls == ["text"]


@pytest.mark.parametrize("name", ["openai-py-chat", "anthropic-py", "openai-js-responses"])
async def test_a_retry_joins_what_a_dead_node_began(name: str, stage: Stage, service: Service) -> None:
    """The node is killed before it has answered, and nginx says so; the retry finds the generation elsewhere."""

    async def dies(exchange: Exchange) -> None:
        await service.kill_node(exchange)
        await refuse(exchange)

    service.wire.early.append(dies)
    left = await CLIENTS[name].run(stage, _ask(service))
    assert complaints(left, outcome(name, "text"), whole("text")) == [], service.wire.told
    assert service.provider.calls == ["text"]


@pytest.mark.parametrize(("key", "calls"), [(False, 2), (True, 1)], ids=["no-key", "key"])
async def test_the_ai_sdk_needs_a_key_to_join(key: bool, calls: int, stage: Stage, service: Service) -> None:
    """It tries again like the others and does not say so: without a key that is another question."""
    service.wire.early.append(refuse)
    left = await CLIENTS["ai-openai-chat"].run(stage, msgspec.structs.replace(_ask(service), resume=key))
    assert complaints(left, outcome("ai-openai-chat", "text"), whole("text")) == [], service.wire.told
    await wait_until(lambda: len(service.provider.calls) >= calls)
    assert service.provider.calls == ["text"] * calls


@pytest.mark.parametrize("journey", ["openai-py-chains", "openaiChains"])
async def test_previous_response_id(journey: str, stage: Stage, service: Service) -> None:
    """The second question goes to the model with the first one and its answer before it."""
    left = await _run(stage, journey, _ask(service))
    assert (left.text, left.finish) == (whole("text").text, "completed")
    roles = [(message["role"], _text(message["content"])) for message in service.provider.asked[1]["messages"]]
    assert roles == [("user", "Say it."), ("assistant", whole("text").text), ("user", "And then?")]


@pytest.mark.parametrize("journey", ["openai-py-background", "openai-py-background-sync", "openaiInTheBackground"])
async def test_a_response_in_the_background(journey: str, stage: Stage, service: Service) -> None:
    """Made, read, left after the first text, read on from there: together all of it, and nothing twice."""
    left = await _run(stage, journey, _ask(service))
    assert (left.text, left.reasoning, left.finish) == (whole("text").text, "", "completed"), service.wire.told
    assert "starting_after=" in service.wire.exchanges[-2].line
    assert service.provider.calls == ["text"]


@pytest.mark.parametrize(
    "journey",
    [
        *(name for name in journeys_py.JOURNEYS if "tools" in name),
        "aiChatTools",
        "aiResponsesTools",
        "aiMessagesTools",
    ],
)
async def test_tools_there_and_back(journey: str, stage: Stage, service: Service) -> None:
    """Two calls at once, their results, and the answer to them."""
    left = await _run(stage, journey, _ask(service, "tools"))
    assert (left.text, [tool.name for tool in left.tools]) == (whole("text").text, [call.name for call in CALLS])
    assert service.provider.calls == ["tools", "tools"]
    _user, said, *results = service.provider.asked[1]["messages"]
    arguments = [json.loads(call["function"]["arguments"]) for call in said["tool_calls"]]
    assert arguments == [json.loads(call.arguments) for call in CALLS]
    ids = [call["id"] for call in said["tool_calls"]]
    assert [(result["role"], result["tool_call_id"]) for result in results] == [("tool", id_) for id_ in ids]
    assert [_text(result["content"]) for result in results] == ["sunny in Besançon", "sunny in Zürich"]


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)
