"""The openai package for Python, unmodified: four ways to stream, each in its sync and its async form."""

from __future__ import annotations

from typing import Any

from openai import APIConnectionError, AsyncOpenAI, OpenAI

from tests.clients.left import MOST_TRIES, TOOL, Ask, Left, Problem, Spent, ToolUse, again, again_sync, problem


def sync_client(ask: Ask) -> OpenAI:
    """As an application makes it."""
    return OpenAI(base_url=f"{ask.base}/v1", api_key=ask.key, max_retries=2)


def async_client(ask: Ask) -> AsyncOpenAI:
    """As an application makes it."""
    return AsyncOpenAI(base_url=f"{ask.base}/v1", api_key=ask.key, max_retries=2)


def chat_request(ask: Ask) -> dict[str, Any]:
    """The arguments of a chat completion."""
    tools = {"tools": [{"type": "function", "function": TOOL}]} if ask.tools else {}
    messages = [{"role": "user", "content": ask.prompt}]
    wanted = {"model": ask.model, "messages": messages, "stream_options": {"include_usage": True}}
    return {**wanted, **tools, "extra_headers": ask.headers}


def responses_request(ask: Ask) -> dict[str, Any]:
    """The arguments of a response."""
    tools = {"tools": [{"type": "function", "strict": False, **TOOL}]} if ask.tools else {}
    return {"model": ask.model, "input": ask.prompt, **tools, "extra_headers": ask.headers}


def take_chunk(left: Left, tools: dict[int, list[str]], chunk: Any) -> None:
    """What an application does with a chunk of a chat completion."""
    left.id = chunk.id
    if chunk.usage is not None:
        left.usage = Spent(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
    for choice in chunk.choices:
        left.text += choice.delta.content or ""
        left.reasoning += getattr(choice.delta, "reasoning_content", None) or ""
        left.finish = choice.finish_reason or left.finish
        for call in _list(choice.delta.tool_calls):
            known = tools.setdefault(call.index, ["", ""])
            known[0] += call.function.name or ""
            known[1] += call.function.arguments or ""
    left.tools = [ToolUse(*tools[index]) for index in sorted(tools)]


def _list(calls: Any) -> list[Any]:
    return calls or []


def take_completion(left: Left, whole: Any) -> None:
    """What the helper built up."""
    (choice,) = whole.choices
    left.id, left.text, left.finish = whole.id, choice.message.content or "", choice.finish_reason
    left.usage = Spent(whole.usage.prompt_tokens, whole.usage.completion_tokens) if whole.usage else None
    left.tools = [ToolUse(call.function.name, call.function.arguments) for call in _list(choice.message.tool_calls)]


def take_event(left: Left, event: Any) -> None:
    """What an application does with an event of a response."""
    match event.type:
        case "response.created":
            left.id = event.response.id
        case "response.output_text.delta":
            left.text += event.delta
        case "response.reasoning_text.delta" | "response.reasoning_summary_text.delta":
            left.reasoning += event.delta
        case "response.output_item.done" if event.item.type == "function_call":
            left.tools.append(ToolUse(event.item.name, event.item.arguments))
        case "response.completed" | "response.incomplete" | "response.failed":
            take_response(left, event.response)
        case _:
            pass


def take_response(left: Left, response: Any) -> None:
    """The response as it ended."""
    left.finish = response.status
    left.usage = Spent(response.usage.input_tokens, response.usage.output_tokens) if response.usage else None
    if response.status == "failed":
        left.error = Problem("failed", response.error.message)


@again
async def chat(ask: Ask) -> Left:
    """Chat completions, the plain stream: chunks as they come."""
    left, tools = Left(), dict[int, list[str]]()
    async with async_client(ask) as client:
        try:
            async for chunk in await client.chat.completions.create(stream=True, **chat_request(ask)):
                take_chunk(left, tools, chunk)
        except Exception as error:  # noqa: BLE001 - whatever the application would have to catch
            left.error = problem(error)
    return left


@again_sync
def chat_sync(ask: Ask) -> Left:
    """The same without asyncio."""
    left, tools = Left(), dict[int, list[str]]()
    with sync_client(ask) as client:
        try:
            for chunk in client.chat.completions.create(stream=True, **chat_request(ask)):
                take_chunk(left, tools, chunk)
        except Exception as error:  # noqa: BLE001 - whatever the application would have to catch
            left.error = problem(error)
    return left


@again
async def chat_helper(ask: Ask) -> Left:
    """The helper, which builds the whole completion up."""
    left = Left()
    async with async_client(ask) as client:
        try:
            async with client.chat.completions.stream(**chat_request(ask)) as stream:
                async for event in stream:
                    left.text += event.delta if event.type == "content.delta" else ""
                take_completion(left, await stream.get_final_completion())
        except Exception as error:  # noqa: BLE001 - whatever the application would have to catch
            left.error = problem(error)
    return left


@again_sync
def chat_helper_sync(ask: Ask) -> Left:
    """The same without asyncio."""
    left = Left()
    with sync_client(ask) as client:
        try:
            with client.chat.completions.stream(**chat_request(ask)) as stream:
                for event in stream:
                    left.text += event.delta if event.type == "content.delta" else ""
                take_completion(left, stream.get_final_completion())
        except Exception as error:  # noqa: BLE001 - whatever the application would have to catch
            left.error = problem(error)
    return left


async def responses(ask: Ask) -> Left:
    """Responses, the plain stream, gone on with ``starting_after`` wherever it breaks: the SDK's own call."""
    left, at, ask = Left(), -1, ask.with_key()
    async with async_client(ask) as client:

        def opening() -> Any:
            if left.id is None:
                return client.responses.create(stream=True, **responses_request(ask))
            return client.responses.retrieve(left.id, stream=True, starting_after=at)

        while True:
            try:
                async for event in await opening():
                    at = event.sequence_number
                    take_event(left, event)
            except Exception as error:  # noqa: BLE001 - whatever the application would have to catch
                if not may_resume(ask, left, error):
                    left.error = problem(error)
                    return left
                left.resumed += 1
            else:
                return left


def responses_sync(ask: Ask) -> Left:
    """The same without asyncio."""
    left, at, ask = Left(), -1, ask.with_key()
    with sync_client(ask) as client:

        def opening() -> Any:
            if left.id is None:
                return client.responses.create(stream=True, **responses_request(ask))
            return client.responses.retrieve(left.id, stream=True, starting_after=at)

        while True:
            try:
                for event in opening():
                    at = event.sequence_number
                    take_event(left, event)
            except Exception as error:  # noqa: BLE001 - whatever the application would have to catch
                if not may_resume(ask, left, error):
                    left.error = problem(error)
                    return left
                left.resumed += 1
            else:
                return left


def may_resume(ask: Ask, left: Left, error: Exception) -> bool:
    """Whether the connection broke, and the application goes on."""
    return ask.resume and isinstance(error, APIConnectionError) and left.resumed < MOST_TRIES


@again
async def responses_helper(ask: Ask) -> Left:
    """The helper, which builds the whole response up."""
    left = Left()
    async with async_client(ask) as client:
        try:
            async with client.responses.stream(**responses_request(ask)) as stream:
                async for event in stream:
                    take_event(left, event)
                take_response(left, await stream.get_final_response())
        except Exception as error:  # noqa: BLE001 - whatever the application would have to catch
            left.error = problem(error)
    return left


@again_sync
def responses_helper_sync(ask: Ask) -> Left:
    """The same without asyncio."""
    left = Left()
    with sync_client(ask) as client:
        try:
            with client.responses.stream(**responses_request(ask)) as stream:
                for event in stream:
                    take_event(left, event)
                take_response(left, stream.get_final_response())
        except Exception as error:  # noqa: BLE001 - whatever the application would have to catch
            left.error = problem(error)
    return left
