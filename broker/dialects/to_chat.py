"""The canonical request as the body of ``POST /chat/completions``: pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from broker.dialects.files import chat_file
from broker.dialects.ids import CHAT_LENGTH, short_id
from broker.dialects.prefix import own_options, prefix_text
from broker.dialects.sealed import signed_call
from broker.dialects.vendors import Untranslatable
from broker.events import ContentEvent
from broker.request import (
    ContentPart,
    FilePart,
    GenerationRequest,
    ImagePart,
    Message,
    ReasoningPart,
    RefusalPart,
    ToolCallPart,
)

RESERVED = frozenset({"model", "messages", "stream", "n"})
"""What ``provider_options`` may not set: the adapter depends on it."""


def request_to_chat(
    request: GenerationRequest,
    model: str,
    prefix: Sequence[ContentEvent] = (),
    *,
    official: bool,
    provider: str = "openai",
    thoughts: bool = True,
) -> dict[str, Any]:
    """The body, ``provider_options`` merged in last; ``prefix`` is what the answer must go on from.

    ``official`` = OpenAI's own API: it gets ``max_completion_tokens`` (its reasoning models refuse ``max_tokens``) and
    the role ``developer``. Compatible servers get what all of them know: ``max_tokens``, ``system``, refusals as text;
    unless not ``thoughts``, reasoning that nobody has sealed; and what only their own clients can have said: marks of
    what to cache.
    ``provider``: whose signatures of its calls go back in; anybody else's stay here.
    ``metadata`` stays here, and so does ``reasoning.budget_tokens``, for which this API has no word.

    Raises :class:`Untranslatable` for an image or a file in a tool's result, for what it can't be
    told of a file, and for reserved options,
    :class:`broker.errors.ProviderError` ``prefill_refused`` for a prefix that is more than text.
    """
    messages = _messages(request.conversation(), provider, official=official)
    if not thoughts:
        for message in messages:
            message.pop("reasoning_content", None)
    if request.instructions:
        messages.insert(0, {"role": "system", "content": request.instructions})
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        **_settings(request, official=official),
    }
    if text := prefix_text(prefix):
        messages.append({"role": "assistant", "content": text})
        # vLLM's words for: the last message is unfinished, go on inside it.
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    return body | own_options(request, RESERVED)


def _settings(request: GenerationRequest, *, official: bool) -> dict[str, Any]:
    limit = "max_completion_tokens" if official else "max_tokens"
    choice = request.tool_choice
    tools = [tool.model_dump(exclude_none=True, exclude=_unmarked(official)) for tool in request.tools or ()]
    given: dict[str, Any] = {
        limit: request.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": request.stops() or None,
        "tools": tools or None,
        "tool_choice": choice if choice is None or isinstance(choice, str) else choice.model_dump(),
        # Refused where there are no tools.
        "parallel_tool_calls": request.parallel_tool_calls if tools else None,
        "response_format": request.response_format,
        "reasoning_effort": request.reasoning.effort if request.reasoning else None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _messages(conversation: Sequence[Message], provider: str, *, official: bool) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for index, message in enumerate(conversation):
        said = _message(message, f"messages.{index}", provider, official=official)
        # What follows on a call without its result is refused: it is the same turn, told in two messages.
        if messages and message.role == "assistant" and messages[-1].get("tool_calls"):
            messages[-1] = _joined(messages[-1], said)
        elif message.role == "tool":
            messages.insert(_place_of_result(messages), said)
        elif message.role != "assistant" or said["content"] is not None or message.tool_calls:
            # One that only thought has nothing to say in this API.
            messages.append(said)
    return messages


def _place_of_result(messages: list[dict[str, Any]]) -> int:
    """Behind the last calls and the results of theirs that are there: what a user said in between comes after them."""
    calls = next((at for at in reversed(range(len(messages))) if messages[at].get("tool_calls")), len(messages) - 1)
    rest = range(calls + 1, len(messages))
    return next((at for at in rest if messages[at]["role"] != "tool"), len(messages))


def _message(message: Message, path: str, provider: str, *, official: bool) -> dict[str, Any]:
    role = "system" if message.role == "developer" and not official else message.role
    content = message.content
    parts = content if isinstance(content, list) else []
    if message.role == "tool" and any(isinstance(part, ImagePart | FilePart) for part in parts):
        raise Untranslatable("a tool's result may be text only in chat completions", field=f"{path}.content")
    out: dict[str, Any] = {
        "role": role,
        "content": content if not isinstance(content, list) else _parts(content, path, official=official),
    }
    if message.name is not None:
        out["name"] = message.name
    if message.tool_call_id is not None:
        out["tool_call_id"] = _call_id(message.tool_call_id, official=official)
    if message.tool_calls:
        out["tool_calls"] = [_call(call, provider, official=official) for call in message.tool_calls]
    if thoughts := [] if official else _free_thoughts(parts):
        out["reasoning_content"] = "".join(thoughts)
    return out


def _call(call: ToolCallPart, provider: str, *, official: bool) -> dict[str, Any]:
    """With Gemini's signature, in Gemini's words, if it is this provider that signed the call."""
    said, signed = call.model_dump(exclude_none=True, exclude=_unmarked(official)), signed_call(call.id)
    sealed = {"extra_content": {"google": {"thought_signature": signed.signature}}} if signed.signature else {}
    return {**said, "id": _call_id(call.id, official=official), **(sealed if signed.provider == provider else {})}


def _call_id(call_id: str, *, official: bool) -> str:
    return short_id(call_id, CHAT_LENGTH) if official else signed_call(call_id).id


def _joined(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Two messages of the assistant's as one."""
    contents = [_as_parts(one["content"]), _as_parts(other["content"])]
    calls = [*one.get("tool_calls", ()), *other.get("tool_calls", ())]
    joined = {**one, **other, "content": [*contents[0], *contents[1]] or None, "tool_calls": calls}
    if thoughts := [said["reasoning_content"] for said in (one, other) if "reasoning_content" in said]:
        joined["reasoning_content"] = "".join(thoughts)
    return joined


def _as_parts(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content or []


def _parts(content: list[ContentPart], path: str, *, official: bool) -> str | list[dict[str, Any]] | None:
    """Without reasoning, which is no content in this API; a text beside it is a string again: not all take a list."""
    said = [(part, f"{path}.content.{at}") for at, part in enumerate(content) if not isinstance(part, ReasoningPart)]
    parts = [_part(part, where, official=official) for part, where in said]
    if len(parts) == 1 < len(content) and parts[0].keys() == {"type", "text"}:
        return parts[0]["text"]
    return parts or None


def _part(part: ContentPart, path: str, *, official: bool) -> dict[str, Any]:
    if isinstance(part, FilePart):
        return chat_file(part, path)
    if isinstance(part, RefusalPart) and not official:
        return {"type": "text", "text": part.refusal}
    return part.model_dump(exclude_none=True, exclude=_unmarked(official))


def _free_thoughts(parts: Sequence[ContentPart]) -> list[str]:
    """What everybody may read. Some servers refuse a turn that comes back without it; an empty one was meant so."""
    thoughts = [part for part in parts if isinstance(part, ReasoningPart) and not (part.signature or part.opaque)]
    return [part.text for part in thoughts if part.text or part.provider is None]


def _unmarked(official: bool) -> set[str]:
    return {"cache_control"} if official else set()
