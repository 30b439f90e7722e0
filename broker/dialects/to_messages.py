"""The canonical request as the body of Anthropic's ``POST /v1/messages``: pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from broker.dialects.prefix import own_options, prefix_text
from broker.dialects.to_messages_turns import messages_of, system_of, thoughtless
from broker.dialects.vendors import Untranslatable
from broker.events import ContentEvent
from broker.request import GenerationRequest, Tool

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
EFFORT_BUDGETS = {"minimal": MIN_BUDGET, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 32_768, "max": 32_768}
"""``reasoning.effort`` -> ``budget_tokens`` on models that don't know effort, and the room for thinking on all."""
_EFFORTS = {"minimal": "low"}
"""Our words for effort that Anthropic lacks."""


def can_prefill(model: str) -> bool:
    """Whether the model continues an answer that it is given the beginning of."""
    return model.startswith(PREFILL_MODELS)


def request_to_messages(request: GenerationRequest, model: str, prefix: Sequence[ContentEvent] = ()) -> dict[str, Any]:
    """The body, ``provider_options`` merged in last; ``prefix`` is what the answer must go on from.

    ``metadata`` stays here. System and developer messages, wherever they stand, become ``system``; neighbours of one
    role become one message. ``reasoning.effort`` becomes ``output_config.effort`` with adaptive thinking, on older
    models a budget, or nothing in the middle of a turn whose thinking is not known.

    Raises :class:`Untranslatable` for what this API can't say (``response_format`` json_object, arguments of an earlier
    tool call that are not a JSON object, nothing but system messages, an image URL that is neither https nor base64
    data) and for reserved options; :class:`broker.errors.ProviderError` ``prefill_refused`` for a prefix that is more
    than text.
    """
    messages = messages_of(request)
    if not messages:
        raise Untranslatable("Anthropic needs a message that is not the system's", field="messages")
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "stream": True,
        "max_tokens": request.max_output_tokens or DEFAULT_MAX_TOKENS,
    }
    if system := system_of(request):
        body["system"] = system
    body |= _sampling(request)
    body |= _thinking(request, model, messages)
    if schema := _schema(request.response_format):
        body["output_config"] = {**body.get("output_config", {}), "format": schema}
    # White space at the end of a prefix is refused.
    if text := prefix_text(prefix).rstrip():
        body["messages"].append({"role": "assistant", "content": [{"type": "text", "text": text}]})
    return body | own_options(request, RESERVED)


def _sampling(request: GenerationRequest) -> dict[str, Any]:
    given: dict[str, Any] = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "stop_sequences": request.stops() or None,
    }
    if request.tools:
        given |= {"tools": [_tool(tool) for tool in request.tools]}
        given |= {"tool_choice": _tool_choice(request)}
    return {name: value for name, value in given.items() if value is not None}


def _tool(tool: Tool) -> dict[str, Any]:
    function = tool.function.model_dump(exclude_none=True)
    schema = function.pop("parameters", None)
    mark = {"cache_control": tool.cache_control.model_dump(exclude_none=True)} if tool.cache_control else {}
    return {**function, "input_schema": schema or {"type": "object", "properties": {}}, **mark}


def _tool_choice(request: GenerationRequest) -> dict[str, Any] | None:
    choice, single = request.tool_choice, request.parallel_tool_calls is False
    if choice is None and not single:
        return None
    if choice == "none":
        return {"type": "none"}
    only_one = {"disable_parallel_tool_use": True} if single else {}
    if choice is None or isinstance(choice, str):
        return {"type": "any" if choice == "required" else "auto", **only_one}
    return {"type": "tool", "name": choice.function.name, **only_one}


def _thinking(request: GenerationRequest, model: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
    wanted, limit = request.reasoning, request.max_output_tokens
    if wanted is None:
        return {}
    if wanted.budget_tokens is not None:
        return _budget(limit, wanted.budget_tokens)
    if wanted.effort == "none":
        return {"thinking": {"type": "disabled"}}
    if wanted.effort is None:
        return {}
    if can_prefill(model):
        budget = EFFORT_BUDGETS[wanted.effort]
        budget = budget if limit is None else min(budget, limit - 1)
        possible = budget >= MIN_BUDGET and not thoughtless(messages)
        return _budget(limit, budget) if possible else {}
    # Without a word about display, newer models send thinking without its text.
    thinking = {"type": "adaptive", "display": "summarized"}
    effort = {"effort": _EFFORTS.get(wanted.effort, wanted.effort)}
    return {"thinking": thinking, "output_config": effort, **_room(limit, EFFORT_BUDGETS[wanted.effort])}


def _budget(limit: int | None, budget: int) -> dict[str, Any]:
    return {"thinking": {"type": "enabled", "budget_tokens": budget}, **_room(limit, budget)}


def _room(limit: int | None, budget: int) -> dict[str, Any]:
    """Thinking counts against ``max_tokens``: where that is our own default, room is made for it."""
    return {} if limit is not None else {"max_tokens": DEFAULT_MAX_TOKENS + budget}


def _schema(response_format: dict[str, Any] | None) -> dict[str, Any] | None:
    wanted = response_format or {"type": "text"}
    if wanted.get("type") == "text":
        return None
    schema = _object(_object(wanted.get("json_schema")).get("schema"))
    if wanted.get("type") != "json_schema" or not schema:
        raise Untranslatable("response_format: Anthropic knows json_schema with a schema only", field="response_format")
    return {"type": "json_schema", "schema": schema}


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
