"""A generation as the body of ``POST /chat/completions``. Pure."""

from __future__ import annotations

from typing import Any

from broker.errors import ProviderError
from broker.events import ContentEvent, TextDelta
from broker.request import ContentPart, GenerationRequest, Message, ReasoningPart, RefusalPart
from worker.providers.base import Call

RESERVED = frozenset({"model", "messages", "stream", "n"})
"""What ``provider_options`` may not set: the adapter depends on it."""


def request_to_openai(call: Call, *, official: bool) -> dict[str, Any]:
    """The body, ``provider_options`` merged in last.

    ``official`` = OpenAI's own API: it gets ``max_completion_tokens`` (its reasoning models refuse ``max_tokens``) and
    the role ``developer``. Compatible servers get what all of them know: ``max_tokens``, ``system``, refusals as text.
    ``metadata`` stays here, and so does ``reasoning.budget_tokens``, for which this API has no word.

    Raises :class:`ProviderError`: ``provider_rejected`` for reserved options, ``prefill_refused`` for a prefix that is
    more than text.
    """
    request = call.request
    messages = [_message(message, official=official) for message in request.conversation()]
    if request.instructions:
        messages.insert(0, {"role": "system", "content": request.instructions})
    body: dict[str, Any] = {
        "model": call.model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        **_sampling(request, official=official),
    }
    if prefix := prefix_text(call.prefix):
        messages.append({"role": "assistant", "content": prefix})
        # vLLM's words for: the last message is unfinished, go on inside it.
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    options = request.provider_options or {}
    if taken := RESERVED & options.keys():
        raise ProviderError(f"provider_options may not set {', '.join(sorted(taken))}", code="provider_rejected")
    return body | options


def prefix_text(prefix: list[ContentEvent]) -> str:
    """The text a call continues. Raises :class:`ProviderError` ``prefill_refused`` if it is more than text."""
    if not all(isinstance(event, TextDelta) for event in prefix):
        raise ProviderError("only text can be continued", code="prefill_refused")
    return "".join(event.text for event in prefix if isinstance(event, TextDelta))


def _sampling(request: GenerationRequest, *, official: bool) -> dict[str, Any]:
    limit = "max_completion_tokens" if official else "max_tokens"
    choice = request.tool_choice
    given: dict[str, Any] = {
        limit: request.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop": request.stops() or None,
        "tools": [tool.model_dump(exclude_none=True) for tool in request.tools or ()] or None,
        "tool_choice": choice if choice is None or isinstance(choice, str) else choice.model_dump(),
        "response_format": request.response_format,
        "reasoning_effort": request.reasoning.effort if request.reasoning else None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _message(message: Message, *, official: bool) -> dict[str, Any]:
    role = "system" if message.role == "developer" and not official else message.role
    content = message.content
    out: dict[str, Any] = {
        "role": role,
        "content": _parts(content, official=official) if isinstance(content, list) else content,
    }
    if message.name is not None:
        out["name"] = message.name
    if message.tool_call_id is not None:
        out["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        out["tool_calls"] = [call.model_dump() for call in message.tool_calls]
    return out


def _parts(content: list[ContentPart], *, official: bool) -> list[dict[str, Any]] | None:
    """Without reasoning, for which this API has no word."""
    return [_part(part, official=official) for part in content if not isinstance(part, ReasoningPart)] or None


def _part(part: ContentPart, *, official: bool) -> dict[str, Any]:
    if isinstance(part, RefusalPart) and not official:
        return {"type": "text", "text": part.refusal}
    return part.model_dump(exclude_none=True)
