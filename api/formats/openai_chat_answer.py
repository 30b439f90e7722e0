"""The answer to ``POST /v1/chat/completions`` without a stream, and the words that it shares with the stream. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from api.formats.tokens import whole_input
from broker.content import Block
from broker.events import Cancelled, Completed, Failed, Terminal
from broker.submission import Submission
from broker.values import FinishReason, Usage

_FINISH: dict[FinishReason, str] = {"length": "length", "tool_calls": "tool_calls", "content_filter": "content_filter"}
_ERROR_TYPES = {
    "provider_rate_limited": "rate_limit_error",
    "rate_limited": "rate_limit_error",
    "provider_rejected": "invalid_request_error",
    "prefill_refused": "invalid_request_error",
    "context_length_exceeded": "invalid_request_error",
    "content_rejected": "invalid_request_error",
    "output_too_large": "invalid_request_error",
    "provider_auth": "permission_error",
    "cancelled": "invalid_request_error",
}
"""Our code -> OpenAI's ``type``; codes not listed mean ``server_error``, after which clients try again."""


def finish_reason(completed: Completed, *, refused: bool) -> str:
    """OpenAI's word; an answer that ``refused`` says so in its text, and ended as answers do."""
    if completed.finish_reason == "refusal" and not refused:
        return "content_filter"
    return _FINISH.get(completed.finish_reason, "stop")


def usage_dict(usage: Usage, provider: str) -> dict[str, Any]:
    """OpenAI's ``usage``; details where the provider gave any."""
    prompt, completion = whole_input(usage, provider), usage.output_tokens or 0
    counts: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    details = {"cached_tokens": usage.cache_read_input_tokens, "cache_write_tokens": usage.cache_creation_input_tokens}
    known = {name: count for name, count in details.items() if count is not None}
    if known:
        counts["prompt_tokens_details"] = known
    if usage.reasoning_tokens is not None:
        counts["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return counts


def error_dict(end: Failed | Cancelled) -> dict[str, Any]:
    """Why there is no whole answer, in OpenAI's shape; ``code`` is ours, and ``cancelled``."""
    if isinstance(end, Cancelled):
        return error_body(f"The generation was cancelled ({end.reason}).", "cancelled")
    return error_body(end.error.message, end.error.code)


def error_body(message: str, code: str) -> dict[str, Any]:
    """An error in OpenAI's shape."""
    kind = _ERROR_TYPES.get(code, "server_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def chat_answer(submission: Submission, blocks: Iterable[Block], provider: str, terminal: Terminal) -> dict[str, Any]:
    """The ``chat.completion``; of a generation that did not complete, the error."""
    if not isinstance(terminal, Completed):
        return error_dict(terminal)
    message = _message(list(blocks))
    choice: dict[str, Any] = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": finish_reason(terminal, refused=bool(message["refusal"])),
    }
    answer: dict[str, Any] = {
        "id": submission.id_as("chatcmpl-"),
        "object": "chat.completion",
        "created": int(submission.created_at),
        "model": submission.model,
        "choices": [choice],
    }
    if terminal.usage is not None:
        answer["usage"] = usage_dict(terminal.usage, provider)
    return answer


def _message(blocks: list[Block]) -> dict[str, Any]:
    said = {kind: [block.text for block in blocks if block.kind == kind] for kind in ("text", "refusal", "reasoning")}
    # Null only where something else was said: clients take the content of any other answer for a string.
    speaks = said["text"] or not any(block.kind in ("refusal", "tool_call") for block in blocks)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(said["text"]) if speaks else None,
        "refusal": "".join(said["refusal"]) or None,
    }
    if thought := "".join(said["reasoning"]):
        message["reasoning_content"] = thought
    calls = [
        {"id": block.call_id, "type": "function", "function": {"name": block.name, "arguments": block.text}}
        for block in blocks
        if block.kind == "tool_call"
    ]
    if calls:
        message["tool_calls"] = calls
    return message
