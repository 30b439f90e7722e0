"""The chunks of the UI message stream: their bytes, and what they say of usage, reasoning and tools. Pure."""

from __future__ import annotations

import json
from typing import Any, Literal, cast

import msgspec

from broker.events import Completed, Failed, Terminal
from broker.values import FinishReason, Timing, Usage

_json = msgspec.json.Encoder().encode

DONE = b"data: [DONE]\n\n"
"""The end mark: clients don't count it as a chunk."""

FINISH_REASONS: dict[FinishReason, str] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool-calls",
    "content_filter": "content-filter",
    "refusal": "content-filter",
}


def chunk(kind: str, /, **fields: Any) -> bytes:
    """The frame of one chunk."""
    return b"data: %b\n\n" % _json({"type": kind, **fields})


def provider_metadata(provider: str, part: Literal["signature", "opaque"], payload: str) -> dict[str, Any]:
    """Where a client keeps what only the provider can read, so that its next request brings it back."""
    names = {"signature": "signature", "opaque": "redactedData" if provider == "anthropic" else "opaque"}
    return {provider: {names[part]: payload}}


def tool_input(call_id: str, name: str, arguments: str) -> bytes:
    """The whole input of a tool call; what a client could not take as JSON is an error of this call alone."""
    call = {"toolCallId": call_id, "toolName": name}
    value = _json_on_one_line(arguments)
    if value is None:
        return chunk("tool-input-error", **call, input=arguments, errorText="The arguments are not valid JSON.")
    return chunk("tool-input-available", **call, input=msgspec.Raw(value))


def _json_on_one_line(text: str) -> bytes | None:
    """The same JSON without white space around its tokens, so that numbers keep all their digits."""
    text = text if text.strip() else "{}"
    try:
        value, line = _decoded(text)
    except (ValueError, RecursionError):
        return None
    return None if _pollutes(value) else line


def _decoded(text: str) -> tuple[object, bytes]:
    data = text.encode()
    try:
        return msgspec.json.decode(data), msgspec.json.format(data, indent=-1)
    except msgspec.DecodeError:
        # Half of a surrogate pair, which JavaScript takes, and this decoder does not.
        value: object = json.loads(text)
        return value, json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def _pollutes(value: object) -> bool:
    """Whether the client's reader takes this for an attack on its prototypes: it would die of the whole chunk."""
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            members = cast("dict[str, Any]", one)
            inner = members.get("constructor")
            if "__proto__" in members or (isinstance(inner, dict) and "prototype" in inner):
                return True
            pending.extend(members.values())
        elif isinstance(one, list):
            pending.extend(cast("list[Any]", one))
    return False


def end_metadata(event: Terminal) -> dict[str, Any]:
    """What a message's metadata say of its end, named as in the AI SDK's own types; durations in ms."""
    metadata: dict[str, Any] = {}
    if isinstance(event, Completed):
        metadata |= _known(providerFinishReason=event.provider_finish_reason, stopSequence=event.stop_sequence)
    if isinstance(event, Failed):
        error = event.error
        metadata["error"] = {"code": error.code, "retryable": error.retryable}
    if event.usage is not None:
        metadata["usage"] = _usage(event.usage)
    if event.timing is not None:
        metadata["timing"] = _timing(event.timing)
    return metadata


def _usage(usage: Usage) -> dict[str, Any]:
    both = usage.input_tokens is not None and usage.output_tokens is not None
    total = (usage.input_tokens or 0) + (usage.output_tokens or 0) if both else None
    read, written = usage.cache_read_input_tokens, usage.cache_creation_input_tokens
    return {
        **_known(inputTokens=usage.input_tokens, outputTokens=usage.output_tokens, totalTokens=total),
        "inputTokenDetails": _known(cacheReadTokens=read, cacheWriteTokens=written),
        "outputTokenDetails": _known(reasoningTokens=usage.reasoning_tokens),
    }


def _timing(timing: Timing) -> dict[str, Any]:
    return _known(
        queueMs=timing.queue_ms,
        ttftMs=timing.ttft_ms,
        durationMs=timing.duration_ms,
        tokensPerSecond=timing.tokens_per_second,
    )


def _known(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
