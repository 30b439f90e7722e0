"""The journeys of test_journeys.py with the Python SDKs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from tests.clients import anthropic_py, openai_py
from tests.clients.left import Ask, Left, ToolUse


def _weather(arguments: str) -> str:
    return f"sunny in {json.loads(arguments)['city']}"


# What the SDKs answer to arguments out of a dict has no type that a checker knows.
def _openai(ask: Ask) -> Any:
    return openai_py.async_client(ask)


def _openai_sync(ask: Ask) -> Any:
    return openai_py.sync_client(ask)


def _anthropic(ask: Ask) -> Any:
    return anthropic_py.async_client(ask)


async def chat_leaves(ask: Ask) -> Left:
    """Chat completions, left after the first text."""
    left = Left()
    client = _openai(ask)
    async with client, await client.chat.completions.create(stream=True, **openai_py.chat_request(ask)) as stream:
        async for chunk in stream:
            left.text += chunk.choices[0].delta.content or ""
            if left.text:
                break
    return left


async def responses_leaves(ask: Ask) -> Left:
    """Responses, likewise."""
    left = Left()
    client = _openai(ask)
    async with client, await client.responses.create(stream=True, **openai_py.responses_request(ask)) as stream:
        async for event in stream:
            openai_py.take_event(left, event)
            if left.text:
                break
    return left


async def messages_leaves(ask: Ask) -> Left:
    """The helper of the anthropic package, likewise."""
    left = Left()
    async with _anthropic(ask) as client, client.messages.stream(**anthropic_py.request(ask)) as stream:
        async for text in stream.text_stream:
            left.text += text
            break
    return left


async def chains(ask: Ask) -> Left:
    """A question, and one more that goes on from its answer."""
    async with _openai(ask) as client:
        first = await client.responses.create(model=ask.model, input=ask.prompt)
        second = await client.responses.create(model=ask.model, input="And then?", previous_response_id=first.id)
    assert second.previous_response_id == first.id
    return Left(second.output_text, finish=second.status)


async def background(ask: Ask) -> Left:
    """In the background: looked at, then read from the event behind the last one that was seen."""
    left = Left()
    async with _openai(ask) as client:
        made = await client.responses.create(model=ask.model, input=ask.prompt, background=True)
        place: dict[str, Any] = {}
        for enough in (1, None):
            async with await client.responses.retrieve(made.id, stream=True, **place) as stream:
                async for event in stream:
                    place = {"starting_after": event.sequence_number}
                    openai_py.take_event(left, event)
                    if enough is not None and len(left.text) >= enough:
                        break
        whole = await client.responses.retrieve(made.id)
    return _same(left, whole)


def background_sync(ask: Ask) -> Left:
    """The same without asyncio."""
    left = Left()
    with _openai_sync(ask) as client:
        made = client.responses.create(model=ask.model, input=ask.prompt, background=True)
        place: dict[str, Any] = {}
        for enough in (1, None):
            with client.responses.retrieve(made.id, stream=True, **place) as stream:
                for event in stream:
                    place = {"starting_after": event.sequence_number}
                    openai_py.take_event(left, event)
                    if enough is not None and len(left.text) >= enough:
                        break
        whole = client.responses.retrieve(made.id)
    return _same(left, whole)


def _same(left: Left, whole: Any) -> Left:
    assert whole.output_text == left.text
    left.finish = whole.status
    return left


async def chat_tools(ask: Ask) -> Left:
    """Chat completions: the calls, then the same conversation with their results."""
    request = openai_py.chat_request(ask)
    async with _openai(ask) as client:
        async with client.chat.completions.stream(**request) as stream:
            said = (await stream.get_final_completion()).choices[0].message
        calls: list[Any] = said.tool_calls
        results = [
            {"role": "tool", "tool_call_id": call.id, "content": _weather(call.function.arguments)} for call in calls
        ]
        request["messages"] = [*request["messages"], said.model_dump(exclude_none=True), *results]
        async with client.chat.completions.stream(**request) as stream:
            answer = (await stream.get_final_completion()).choices[0].message
    tools = [ToolUse(call.function.name, call.function.arguments) for call in calls]
    return Left(answer.content or "", tools=tools)


async def responses_tools(ask: Ask) -> Left:
    """Responses: the whole conversation is sent again, as items."""
    return await _responses_tools(ask, chained=False)


async def responses_tools_chained(ask: Ask) -> Left:
    """Responses: the results alone are sent, with the id of what asked for them."""
    return await _responses_tools(ask, chained=True)


async def _responses_tools(ask: Ask, *, chained: bool) -> Left:
    request = openai_py.responses_request(ask)
    async with _openai(ask) as client:
        first = await client.responses.create(**request)
        calls: list[Any] = [item for item in first.output if item.type == "function_call"]
        results = [
            {"type": "function_call_output", "call_id": call.call_id, "output": _weather(call.arguments)}
            for call in calls
        ]
        if chained:
            request |= {"input": results, "previous_response_id": first.id}
        else:
            said = [item.model_dump(exclude_none=True) for item in first.output]
            request["input"] = [{"role": "user", "content": ask.prompt}, *said, *results]
        second = await client.responses.create(**request)
    return Left(second.output_text, tools=[ToolUse(call.name, call.arguments) for call in calls])


async def messages_tools(ask: Ask) -> Left:
    """Messages: the calls, then the same conversation with their results."""
    request = anthropic_py.request(ask)
    async with _anthropic(ask) as client:
        async with client.messages.stream(**request) as stream:
            said = await stream.get_final_message()
        calls = [block for block in said.content if block.type == "tool_use"]
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": _weather(json.dumps(call.input))}
            for call in calls
        ]
        spoken = {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in said.content]}
        request["messages"] = [*request["messages"], spoken, {"role": "user", "content": results}]
        answer = await client.messages.create(**request)
    text = "".join(block.text for block in answer.content if block.type == "text")
    return Left(text, tools=[ToolUse(call.name, json.dumps(call.input)) for call in calls])


JOURNEYS: dict[str, Callable[[Ask], Awaitable[Left]]] = {
    "openai-py-chat-leaves": chat_leaves,
    "openai-py-responses-leaves": responses_leaves,
    "anthropic-py-leaves": messages_leaves,
    "openai-py-chains": chains,
    "openai-py-background": background,
    "openai-py-background-sync": lambda ask: asyncio.to_thread(background_sync, ask),
    "openai-py-chat-tools": chat_tools,
    "openai-py-responses-tools": responses_tools,
    "openai-py-responses-tools-chained": responses_tools_chained,
    "anthropic-py-tools": messages_tools,
}
