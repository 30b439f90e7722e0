"""The anthropic package for Python, unmodified: the plain stream and the helper, each sync and async."""

from __future__ import annotations

import json
from typing import Any

from anthropic import Anthropic, AsyncAnthropic

from tests.clients.left import TOOL, Ask, Left, Spent, ToolUse, again, again_sync, problem


def sync_client(ask: Ask) -> Anthropic:
    """As an application makes it."""
    return Anthropic(base_url=ask.base, api_key=ask.key, max_retries=2)


def async_client(ask: Ask) -> AsyncAnthropic:
    """As an application makes it."""
    return AsyncAnthropic(base_url=ask.base, api_key=ask.key, max_retries=2)


def request(ask: Ask) -> dict[str, Any]:
    """The arguments of a message."""
    tool = {"name": TOOL["name"], "description": TOOL["description"], "input_schema": TOOL["parameters"]}
    tools = {"tools": [tool]} if ask.tools else {}
    wanted = {"model": ask.model, "max_tokens": 4096, "messages": [{"role": "user", "content": ask.prompt}]}
    return {**wanted, **tools, "extra_headers": ask.headers}


def take_event(left: Left, tools: dict[int, list[str]], event: Any) -> None:
    """What an application does with an event of the plain stream."""
    match event.type:
        case "message_start":
            left.id = event.message.id
            left.usage = Spent(event.message.usage.input_tokens, event.message.usage.output_tokens)
        case "content_block_start" if event.content_block.type == "tool_use":
            tools[event.index] = [event.content_block.name, ""]
        case "content_block_delta" if event.delta.type == "text_delta":
            left.text += event.delta.text
        case "content_block_delta" if event.delta.type == "thinking_delta":
            left.reasoning += event.delta.thinking
        case "content_block_delta" if event.delta.type == "input_json_delta":
            tools[event.index][1] += event.delta.partial_json
        case "message_delta":
            left.finish = event.delta.stop_reason
            left.usage = Spent(left.usage.input if left.usage else None, event.usage.output_tokens)
        case _:
            pass
    left.tools = [ToolUse(*tools[index]) for index in sorted(tools)]


def take_helped(left: Left, event: Any) -> None:
    """What an application does with an event of the helper."""
    if event.type == "text":
        left.text += event.text
    elif event.type == "thinking":
        left.reasoning += event.thinking


def take_message(left: Left, whole: Any) -> None:
    """What the helper built up."""
    left.id, left.finish = whole.id, whole.stop_reason
    left.usage = Spent(whole.usage.input_tokens, whole.usage.output_tokens)
    calls = [block for block in whole.content if block.type == "tool_use"]
    left.tools = [ToolUse(call.name, json.dumps(call.input, ensure_ascii=False)) for call in calls]


@again
async def messages(ask: Ask) -> Left:
    """The plain stream: events as they come."""
    left, tools = Left(), dict[int, list[str]]()
    async with async_client(ask) as client:
        try:
            async for event in await client.messages.create(stream=True, **request(ask)):
                take_event(left, tools, event)
        except Exception as error:  # noqa: BLE001 - whatever the application would have to catch
            left.error = problem(error)
    return left


@again_sync
def messages_sync(ask: Ask) -> Left:
    """The same without asyncio."""
    left, tools = Left(), dict[int, list[str]]()
    with sync_client(ask) as client:
        try:
            for event in client.messages.create(stream=True, **request(ask)):
                take_event(left, tools, event)
        except Exception as error:  # noqa: BLE001 - whatever the application would have to catch
            left.error = problem(error)
    return left


@again
async def helper(ask: Ask) -> Left:
    """The helper, which builds the whole message up."""
    left = Left()
    async with async_client(ask) as client:
        try:
            async with client.messages.stream(**request(ask)) as stream:
                async for event in stream:
                    take_helped(left, event)
                take_message(left, await stream.get_final_message())
        except Exception as error:  # noqa: BLE001 - whatever the application would have to catch
            left.error = problem(error)
    return left


@again_sync
def helper_sync(ask: Ask) -> Left:
    """The same without asyncio."""
    left = Left()
    with sync_client(ask) as client:
        try:
            with client.messages.stream(**request(ask)) as stream:
                for event in stream:
                    take_helped(left, event)
                take_message(left, stream.get_final_message())
        except Exception as error:  # noqa: BLE001 - whatever the application would have to catch
            left.error = problem(error)
    return left
