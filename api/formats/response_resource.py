"""The Response resource of OpenAI's Responses API, with every field that its specification names: pure.

The stream's lifecycle events and ``GET /v1/responses/{id}`` are made of the same functions, so they say the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from api.formats.response_items import item_id, item_status, output_item
from broker.content import Block
from broker.events import Completed, Failed, Terminal
from broker.record import Status
from broker.request import NamedToolChoice, StoredRequest, Tool
from broker.submission import Submission
from broker.values import ErrorInfo, Usage

_ERROR_CODES = {
    "provider_rate_limited": "rate_limit_exceeded",
    # Not on the list, and yet what the API says: agents look for it, to make their history shorter.
    "context_length_exceeded": "context_length_exceeded",
    "content_rejected": "invalid_prompt",
    "provider_rejected": "invalid_prompt",
    "prefill_refused": "invalid_prompt",
}
"""Our code -> one of OpenAI's list; what is not listed is a ``server_error``."""
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Finish reason -> why the response is incomplete; after the others it is completed."""


def response_resource(
    submission: Submission,
    blocks: Sequence[Block] = (),
    *,
    provider: str = "",
    attempt: int = 0,
    status: Status = "running",
    terminal: Terminal | None = None,
) -> dict[str, Any]:
    """The resource at any moment, from what :class:`broker.content.ContentFold` has: blocks, provider and attempt.

    ``status`` counts as long as there is no ``terminal`` event.
    """
    output = [
        output_item(
            block,
            item_id(block.kind, submission, attempt, index),
            provider,
            item_status(block, terminal, last=index == len(blocks) - 1),
        )
        for index, block in enumerate(blocks)
    ]
    return resource_of_items(submission, output, provider=provider, status=status, terminal=terminal)


def resource_of_items(
    submission: Submission,
    output: Sequence[dict[str, Any]],
    *,
    provider: str = "",
    status: Status = "running",
    terminal: Terminal | None = None,
) -> dict[str, Any]:
    """The resource around finished output items."""
    asked = _asked(submission)
    error = terminal.error if isinstance(terminal, Failed) else None
    incomplete = why_incomplete(terminal, output) if isinstance(terminal, Completed) else None
    return {
        "id": submission.id_as("resp_"),
        "object": "response",
        "created_at": int(submission.created_at),
        "completed_at": None if incomplete else _completed_at(submission, terminal),
        "status": "incomplete" if incomplete else _status(terminal, waits=status == "queued" and asked["background"]),
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        "model": submission.model,
        "output": list(output),
        "error": None if error is None else error_body(error),
        "usage": None if terminal is None else usage_body(terminal.usage, provider),
        **asked,
    }


def why_incomplete(completed: Completed, output: Sequence[dict[str, Any]]) -> str | None:
    """None = the response is completed: so is one that refused, where it says so in words of its own."""
    if completed.finish_reason != "refusal":
        return _INCOMPLETE.get(completed.finish_reason)
    parts = [part for item in output for part in item.get("content") or ()]
    return None if any(part["type"] == "refusal" for part in parts) else "content_filter"


def is_background(submission: Submission) -> bool:
    """Whether the client asked for a response that it comes back for."""
    return bool(_echo(submission).get("background"))


def error_body(error: ErrorInfo) -> dict[str, str]:
    """A failure in the words of OpenAI's list."""
    return {"code": _ERROR_CODES.get(error.code, "server_error"), "message": error.message}


def usage_body(usage: Usage | None, provider: str) -> dict[str, Any] | None:
    """Token counts; the whole of the input is counted, whatever the provider leaves out of its own number."""
    if usage is None:
        return None
    cached, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    # Anthropic counts what came from its cache or went into it apart; OpenAI within the input.
    read = (usage.input_tokens or 0) + (cached + written if provider == "anthropic" else 0)
    output = usage.output_tokens or 0
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": read + output,
    }


def _status(terminal: Terminal | None, *, waits: bool) -> str:
    match terminal:
        case None:
            return "queued" if waits else "in_progress"
        case Completed():
            return "completed"
        case Failed():
            return "failed"
        case _:
            return "cancelled"


def _completed_at(submission: Submission, terminal: Terminal | None) -> int | None:
    if not isinstance(terminal, Completed):
        return None
    if terminal.timing is None or terminal.timing.duration_ms is None:
        return None
    return int(submission.created_at + terminal.timing.duration_ms / 1000)


# -- what was asked ---------------------------------------------------------------------------------------------------

_DEFAULTS: dict[str, Any] = {
    "previous_response_id": None,
    "instructions": None,
    "tools": [],
    "tool_choice": "auto",
    "truncation": "disabled",
    "parallel_tool_calls": True,
    "top_p": 1.0,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "top_logprobs": 0,
    "temperature": 1.0,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "store": True,
    "background": False,
    "service_tier": "default",
    "safety_identifier": None,
    "prompt_cache_key": None,
}
"""What a field of the resource says when nothing was asked."""


def _echo(submission: Submission) -> Mapping[str, Any]:
    wire = submission.wire
    return wire.echo if wire is not None and wire.dialect == "openai.responses" else {}


def _asked(submission: Submission) -> dict[str, Any]:
    """The fields that repeat the request: as this dialect was spoken, else as the canonical request has them."""
    wire, request = submission.wire, submission.request
    if wire is not None and wire.dialect == "openai.responses":
        said: Mapping[str, Any] = wire.echo
    else:
        said = _canonical(request) if request is not None else {}
    asked = {name: default if said.get(name) is None else said[name] for name, default in _DEFAULTS.items()}
    asked["tools"] = [_whole_tool(tool) for tool in asked["tools"]]
    asked["text"] = {"format": {"type": "text"}, **_said_of(said, "text")}
    asked["reasoning"] = {"effort": None, "summary": None, **_said_of(said, "reasoning")}
    asked["metadata"] = submission.metadata
    if said.get("user") is not None:
        asked["user"] = said["user"]
    return asked


def _said_of(said: Mapping[str, Any], name: str) -> dict[str, Any]:
    values: dict[str, Any] = said.get(name) or {}
    return {key: value for key, value in values.items() if value is not None}


def _whole_tool(tool: dict[str, Any]) -> dict[str, Any]:
    """Strict clients want every field of a function, also where it says nothing."""
    if tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, "strict": None, **tool}


def _canonical(request: StoredRequest) -> dict[str, Any]:
    choice, form = request.tool_choice, request.response_format
    named = isinstance(choice, NamedToolChoice)
    return {
        "instructions": request.instructions,
        "tools": [_tool(tool) for tool in request.tools or ()],
        "tool_choice": {"type": "function", "name": choice.function.name} if named else choice,
        "top_p": request.top_p,
        "temperature": request.temperature,
        "max_output_tokens": request.max_output_tokens,
        "text": {"format": _text_format(form)} if form else None,
        "reasoning": {"effort": request.reasoning.effort} if request.reasoning else None,
    }


def _tool(tool: Tool) -> dict[str, Any]:
    return {"type": "function", **tool.function.model_dump()}


def _text_format(form: dict[str, Any]) -> dict[str, Any]:
    """Chat Completions nest a schema in a field of its own; here its fields stand beside the type."""
    schema = form.get("json_schema")
    return {"type": form.get("type"), **schema} if isinstance(schema, dict) else form
