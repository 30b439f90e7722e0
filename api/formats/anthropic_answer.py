"""The answer to ``POST /v1/messages`` without a stream, and the words that it shares with the stream. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from api.formats.tokens import uncached_input
from broker.content import Block
from broker.dialects.sealed import Part, seal
from broker.events import Cancelled, Completed, Failed, Terminal
from broker.submission import Submission
from broker.values import FinishReason, Usage

HOME = "anthropic"
"""The provider whose own wire this is."""

_STOP_REASONS: dict[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
}
_OWN_STOP_REASONS = frozenset(
    {
        *("end_turn", "max_tokens", "stop_sequence", "tool_use"),
        *("pause_turn", "refusal", "model_context_window_exceeded"),
    }
)
"""All that Anthropic says; ours are fewer."""
_ERROR_TYPES = {
    "provider_rate_limited": "rate_limit_error",
    "rate_limited": "rate_limit_error",
    "provider_overloaded": "overloaded_error",
    "queue_full": "overloaded_error",
    "provider_timeout": "timeout_error",
    "provider_stalled": "timeout_error",
    "deadline": "timeout_error",
    "provider_rejected": "invalid_request_error",
    "prefill_refused": "invalid_request_error",
    "context_length_exceeded": "invalid_request_error",
    "content_rejected": "invalid_request_error",
    "output_too_large": "invalid_request_error",
    "provider_auth": "permission_error",
    "cancelled": "invalid_request_error",
}
"""Our code -> Anthropic's ``type``; codes not listed mean ``api_error``, after which clients try again."""


def stop_dict(completed: Completed, provider: str) -> dict[str, Any]:
    """``stop_reason`` and ``stop_sequence``."""
    own = completed.provider_finish_reason
    if provider == HOME and own in _OWN_STOP_REASONS:
        reason = own
    elif completed.finish_reason == "stop" and completed.stop_sequence is not None:
        reason = "stop_sequence"
    else:
        reason = _STOP_REASONS[completed.finish_reason]
    return {"stop_reason": reason, "stop_sequence": completed.stop_sequence if reason == "stop_sequence" else None}


def usage_dict(usage: Usage | None, provider: str) -> dict[str, Any]:
    """Anthropic's ``usage``; the two counts that its clients need are 0 where nobody has counted."""
    if usage is None:
        return {"input_tokens": 0, "output_tokens": 0}
    counts: dict[str, Any] = {
        "input_tokens": uncached_input(usage, provider),
        "output_tokens": usage.output_tokens or 0,
    }
    if usage.cache_creation_input_tokens is not None:
        counts["cache_creation_input_tokens"] = usage.cache_creation_input_tokens
    if usage.cache_read_input_tokens is not None:
        counts["cache_read_input_tokens"] = usage.cache_read_input_tokens
    if usage.reasoning_tokens is not None:
        counts["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return counts


def error_dict(end: Failed | Cancelled) -> dict[str, Any]:
    """Why there is no whole answer, in Anthropic's shape."""
    if isinstance(end, Cancelled):
        code = "deadline" if end.reason == "deadline" else "cancelled"
        return error_body(f"The generation was cancelled ({end.reason}).", code)
    return error_body(end.error.message, end.error.code)


def error_body(message: str, code: str) -> dict[str, Any]:
    """An error in Anthropic's shape; ``code`` is ours."""
    return {"type": "error", "error": {"type": _ERROR_TYPES.get(code, "api_error"), "message": message}}


def message_dict(submission: Submission) -> dict[str, Any]:
    """The message before anything is said."""
    return {
        "id": submission.id_as("msg_"),
        "type": "message",
        "role": "assistant",
        "model": submission.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage_dict(None, ""),
    }


def message_answer(
    submission: Submission, blocks: Iterable[Block], provider: str, terminal: Terminal
) -> dict[str, Any]:
    """The ``Message``, for msgspec to encode; of a generation that did not complete, the error."""
    if not isinstance(terminal, Completed):
        return error_dict(terminal)
    return {
        **message_dict(submission),
        "content": [_content(block, provider) for block in blocks],
        **stop_dict(terminal, provider),
        "usage": usage_dict(terminal.usage, provider),
    }


def sealed(provider: str, part: Part, payload: str) -> str:
    """What only its provider can read, for a field of this wire."""
    return seal(provider, part, payload, home=HOME)


def _content(block: Block, provider: str) -> dict[str, Any]:
    if block.kind == "tool_call":
        return {"type": "tool_use", "id": block.call_id, "name": block.name, "input": _input(block)}
    if block.kind != "reasoning":
        return {"type": "text", "text": block.text}
    if block.opaque is not None:
        return {"type": "redacted_thinking", "data": sealed(provider, "opaque", block.opaque)}
    signature = "" if block.signature is None else sealed(provider, "signature", block.signature)
    return {"type": "thinking", "thinking": block.text, "signature": signature}


def _input(block: Block) -> msgspec.Raw:
    """The arguments as the model wrote them; none where they broke off: half of them would be other arguments."""
    return msgspec.Raw(block.text.encode() if block.whole else b"{}")
