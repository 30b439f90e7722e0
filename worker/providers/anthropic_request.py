"""A generation as the body of Anthropic's ``POST /v1/messages``. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from broker.errors import ProviderError
from broker.events import ContentEvent, TextDelta
from broker.request import GenerationRequest, ImagePart, Message, ReasoningPart, TextPart
from worker.providers.base import Call
from worker.providers.shapes import as_dict

DEFAULT_MAX_TOKENS = 8192
"""``max_tokens`` when the request names none: this API demands one; every model since Claude 3.5 grants this much."""

RESERVED = frozenset({"model", "messages", "stream"})
"""What ``provider_options`` may not set: the adapter depends on it."""

PREFILL_MODELS = (
    "claude-3-",
    "claude-opus-4-0",
    "claude-opus-4-1",
    "claude-opus-4-2025",
    "claude-opus-4-5",
    "claude-sonnet-4-0",
    "claude-sonnet-4-2025",
    "claude-sonnet-4-5",
    "claude-haiku-4-5",
)
"""Prefixes of the models that continue an answer they are given the beginning of. The list is closed on purpose:
prefill ended with Claude 4.6, later models answer 400. The same models think by ``budget_tokens``, not ``adaptive``."""

MIN_BUDGET = 1024
EFFORT_BUDGETS = {"minimal": MIN_BUDGET, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 32_768}
"""``reasoning.effort`` -> ``budget_tokens`` on models that don't know effort."""
_EFFORTS = {"minimal": "low"}
"""Our words for effort that Anthropic lacks."""
_DATA_URL = re.compile(r"data:(?P<type>[\w.+-]+/[\w.+-]+);base64,(?P<data>.*)", re.DOTALL)


def can_prefill(model: str) -> bool:
    """Whether the model continues an answer that it is given the beginning of."""
    return model.startswith(PREFILL_MODELS)


def request_to_anthropic(call: Call) -> dict[str, Any]:
    """The body, ``provider_options`` merged in last; ``metadata`` stays here.

    System and developer messages, wherever they stand, become ``system``; neighbours of one role become one message.
    ``reasoning.effort`` becomes ``output_config.effort`` with adaptive thinking, on older models a budget.

    Raises :class:`ProviderError`: ``provider_rejected`` for what this API can't say (``response_format`` json_object,
    arguments of an earlier tool call that are not a JSON object, an image URL that is neither https nor base64 data);
    ``prefill_refused`` for a prefix that is more than text.
    """
    request = call.request
    body: dict[str, Any] = {
        "model": call.model,
        "messages": _messages(request.conversation()),
        "stream": True,
        "max_tokens": request.max_output_tokens or DEFAULT_MAX_TOKENS,
    }
    if system := _system(request):
        body["system"] = system
    body |= _sampling(request)
    body |= _thinking(call)
    if schema := _schema(request.response_format):
        body["output_config"] = {**body.get("output_config", {}), "format": schema}
    if prefix := prefix_text(call.prefix).rstrip():
        body["messages"].append({"role": "assistant", "content": [{"type": "text", "text": prefix}]})
    options = request.provider_options or {}
    if taken := RESERVED & options.keys():
        raise _rejected(f"provider_options may not set {', '.join(sorted(taken))}")
    return body | options


def prefix_text(prefix: list[ContentEvent]) -> str:
    """The text a call continues. Raises :class:`ProviderError` ``prefill_refused`` if it is more than text.

    It is sent without white space at its end, which this API refuses.
    """
    if not all(isinstance(event, TextDelta) for event in prefix):
        raise ProviderError("only text can be continued", code="prefill_refused")
    return "".join(event.text for event in prefix if isinstance(event, TextDelta))


def _system(request: GenerationRequest) -> str:
    parts = [request.instructions or ""]
    for message in request.conversation():
        if message.role in ("system", "developer"):
            parts += [block["text"] for block in _content(message) if block["type"] == "text"]
    return "\n\n".join(filter(None, parts))


def _messages(conversation: list[Message]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for message in conversation:
        if message.role in ("system", "developer"):
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = [_tool_result(message)] if message.role == "tool" else _content(message)
        blocks += [_tool_use(call.id, call.function.name, call.function.arguments) for call in message.tool_calls or ()]
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += blocks
        elif blocks:
            messages.append({"role": role, "content": blocks})
    return messages


def _content(message: Message) -> list[dict[str, Any]]:
    if not isinstance(message.content, list):
        return [{"type": "text", "text": message.content}] if message.content else []
    blocks: list[dict[str, Any]] = []
    for part in message.content:
        if isinstance(part, ReasoningPart):
            blocks += _thought(part)
        elif isinstance(part, ImagePart):
            blocks.append({"type": "image", "source": _image(part.image_url.url)})
        elif text := part.text if isinstance(part, TextPart) else part.refusal:
            # An empty text block is refused.
            blocks.append({"type": "text", "text": text})
    return blocks


def _thought(part: ReasoningPart) -> list[dict[str, Any]]:
    """Thinking that this API signed or encrypted itself; no other would be accepted."""
    if part.provider != "anthropic":
        return []
    if part.opaque is not None:
        return [{"type": "redacted_thinking", "data": part.opaque}]
    if part.signature is not None:
        return [{"type": "thinking", "thinking": part.text, "signature": part.signature}]
    return []


def _image(url: str) -> dict[str, str]:
    if data := _DATA_URL.fullmatch(url):
        return {"type": "base64", "media_type": data["type"], "data": data["data"]}
    if url.startswith("https://"):
        return {"type": "url", "url": url}
    raise _rejected("an image needs an https URL or a data URL in base64")


def _tool_result(message: Message) -> dict[str, Any]:
    failed = {"is_error": True} if message.is_error else {}
    return {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": _content(message), **failed}


def _tool_use(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    try:
        value = json.loads(arguments or "{}")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise _rejected(f"the arguments of the tool call {call_id!r} are not a JSON object")
    return {"type": "tool_use", "id": call_id, "name": name, "input": value}


def _sampling(request: GenerationRequest) -> dict[str, Any]:
    given: dict[str, Any] = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop_sequences": request.stops() or None,
    }
    if request.tools:
        given |= {"tools": [_tool(tool.function.model_dump(exclude_none=True)) for tool in request.tools]}
        given |= {"tool_choice": _tool_choice(request)}
    return {name: value for name, value in given.items() if value is not None}


def _tool(function: dict[str, Any]) -> dict[str, Any]:
    schema = function.pop("parameters", None)
    return {**function, "input_schema": schema or {"type": "object", "properties": {}}}


def _tool_choice(request: GenerationRequest) -> dict[str, str] | None:
    choice = request.tool_choice
    if choice is None:
        return None
    if isinstance(choice, str):
        return {"type": "any" if choice == "required" else choice}
    return {"type": "tool", "name": choice.function.name}


def _thinking(call: Call) -> dict[str, Any]:
    wanted = call.request.reasoning
    if wanted is None:
        return {}
    if wanted.budget_tokens is not None:
        return _budget(call, wanted.budget_tokens)
    if wanted.effort == "none":
        return {"thinking": {"type": "disabled"}}
    if wanted.effort is None:
        return {}
    if can_prefill(call.model):
        limit = call.request.max_output_tokens
        budget = EFFORT_BUDGETS[wanted.effort]
        budget = budget if limit is None else min(budget, limit - 1)
        return _budget(call, budget) if budget >= MIN_BUDGET else {}
    # Without a word about display, newer models send thinking without its text.
    thinking = {"type": "adaptive", "display": "summarized"}
    return {"thinking": thinking, "output_config": {"effort": _EFFORTS.get(wanted.effort, wanted.effort)}}


def _budget(call: Call, budget: int) -> dict[str, Any]:
    """Thinking counts against ``max_tokens``: where that is our own default, room is made for it."""
    room = {} if call.request.max_output_tokens is not None else {"max_tokens": DEFAULT_MAX_TOKENS + budget}
    return {"thinking": {"type": "enabled", "budget_tokens": budget}, **room}


def _schema(response_format: dict[str, Any] | None) -> dict[str, Any] | None:
    wanted = response_format or {"type": "text"}
    if wanted.get("type") == "text":
        return None
    schema = as_dict(as_dict(wanted.get("json_schema")).get("schema"))
    if wanted.get("type") != "json_schema" or not schema:
        raise _rejected("response_format: Anthropic knows json_schema with a schema only")
    return {"type": "json_schema", "schema": schema}


def _rejected(message: str) -> ProviderError:
    return ProviderError(message, code="provider_rejected")
