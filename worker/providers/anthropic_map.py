"""Events of Anthropic's ``/v1/messages`` stream as ours. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from broker.events import ContentEvent, FinishReason, ReasoningDelta, TextDelta, ToolCallCompleted, Usage
from worker.providers.base import Finish, ProviderItem, UsageUpdate
from worker.providers.blocks import Blocks, ToolDraft, malformed
from worker.providers.failures import Upstream
from worker.providers.shapes import as_count, as_dict, as_str

FINISH_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
}
"""``stop_reason`` -> ours; words not listed mean ``stop``, and the provider's own word is kept beside it."""

_CUT_SHORT = frozenset({"length", "refusal"})
"""Ends after which an unfinished tool call is nobody's fault: it is left open."""
_COUNTS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


@dataclass(slots=True)
class MessageState:
    """What has to be remembered between the events of one answer."""

    upstream: Upstream
    blocks: Blocks
    overlap: str = ""
    """White space at the end of the prefix, which was not sent and which the model may write again."""
    drafts: dict[int, ToolDraft] = field(default_factory=dict[int, ToolDraft])
    """Tool calls by the index of their block; whole ones are taken out."""
    initial_inputs: dict[int, str] = field(default_factory=dict[int, str])
    signature: str = ""
    counts: dict[str, int] = field(default_factory=dict[str, int])
    stop_reason: str = ""
    stop_sequence: str | None = None
    ended: bool = False


def events_from_message(event: object, state: MessageState) -> list[ProviderItem]:
    """What one event says. Raises :class:`broker.errors.ProviderError` for an error or nonsense inside the stream."""
    body = as_dict(event)
    if not body:
        raise malformed("an event is not a JSON object")
    if body.get("error") or body.get("type") == "error":
        raise state.upstream.refused(None, body, {})
    index = as_count(body.get("index")) or 0
    match body.get("type"):
        case "message_start":
            return _count(as_dict(as_dict(body.get("message")).get("usage")), state)
        case "content_block_start":
            return [*_start(index, as_dict(body.get("content_block")), state)]
        case "content_block_delta":
            return [*_delta(index, as_dict(body.get("delta")), state)]
        case "content_block_stop":
            return [*_stop(index, state)]
        case "message_delta":
            delta = as_dict(body.get("delta"))
            state.stop_reason = as_str(delta.get("stop_reason")) or state.stop_reason
            state.stop_sequence = as_str(delta.get("stop_sequence")) or state.stop_sequence
            return _count(as_dict(body.get("usage")), state)
        case "message_stop":
            state.ended = True
        case _:
            # ping, and what this API may learn to say: its versioning policy asks clients to pass over it.
            pass
    return []


def events_at_end(state: MessageState) -> list[ProviderItem]:
    """What follows from the end of the stream: open blocks are ended, then the :class:`Finish`.

    Raises :class:`broker.errors.ProviderError`: ``provider_truncated`` without ``message_stop`` or a stop reason,
    ``provider_malformed`` for a tool call that is not whole although the provider says that the answer is.
    """
    if not state.ended or not state.stop_reason:
        raise state.upstream.truncated()
    reason = FINISH_REASONS.get(state.stop_reason, "stop")
    items: list[ProviderItem] = [*state.blocks.close()]
    for draft in state.drafts.values():
        items += draft.complete(cut_short=reason in _CUT_SHORT)
    items.append(Finish(reason, state.stop_reason, state.stop_sequence, _usage(state)))
    return items


def _start(index: int, block: dict[str, Any], state: MessageState) -> list[ContentEvent]:
    match block.get("type"):
        case "text":
            return _text(as_str(block.get("text")), state)
        case "thinking":
            state.signature = as_str(block.get("signature"))
            return [*state.blocks.close(), *state.blocks.prose(ReasoningDelta, as_str(block.get("thinking")))]
        case "redacted_thinking":
            events = state.blocks.close()
            return [*events, ReasoningDelta(state.blocks.number(), "", opaque=as_str(block.get("data")))]
        case "tool_use":
            draft = ToolDraft(as_str(block.get("id")), as_str(block.get("name")))
            state.drafts[index] = draft
            if block.get("input"):
                state.initial_inputs[index] = json.dumps(block["input"], ensure_ascii=False)
            return draft.feed("", state.blocks)
        case _:
            return state.blocks.close()


def _delta(index: int, delta: dict[str, Any], state: MessageState) -> list[ContentEvent]:
    match delta.get("type"):
        case "text_delta":
            return _text(as_str(delta.get("text")), state)
        case "thinking_delta":
            return state.blocks.prose(ReasoningDelta, as_str(delta.get("thinking")))
        case "signature_delta":
            state.signature += as_str(delta.get("signature"))
            return []
        case "input_json_delta":
            fragment = as_str(delta.get("partial_json"))
            draft = state.drafts.get(index)
            if not fragment or draft is None:
                # Fragments without a tool_use block belong to a tool that Anthropic runs itself.
                return []
            state.initial_inputs.pop(index, None)
            return draft.feed(fragment, state.blocks)
        case _:
            return []


def _stop(index: int, state: MessageState) -> list[ContentEvent]:
    if draft := state.drafts.get(index):
        events = draft.feed(state.initial_inputs.pop(index, ""), state.blocks)
        # A call that is not whole is judged when the reason for the end is known.
        events += draft.complete(cut_short=True)
        if events and isinstance(events[-1], ToolCallCompleted):
            del state.drafts[index]
        return events
    if not state.signature:
        return state.blocks.close()
    block = state.blocks.reasoning_block()
    signature, state.signature = state.signature, ""
    return [*state.blocks.close(), ReasoningDelta(block, "", signature=signature)]


def _text(text: str, state: MessageState) -> list[ContentEvent]:
    while text and state.overlap:
        if text[0] != state.overlap[0]:
            state.overlap = ""
            break
        text, state.overlap = text[1:], state.overlap[1:]
    return state.blocks.prose(TextDelta, text)


def _count(usage: dict[str, Any], state: MessageState) -> list[ProviderItem]:
    """Counts are cumulative: what a later event does not say, an earlier one has said."""
    known = dict(state.counts)
    for name in _COUNTS:
        if (count := as_count(usage.get(name))) is not None:
            state.counts[name] = count
    details = as_dict(usage.get("output_tokens_details"))
    if (count := as_count(details.get("thinking_tokens"))) is not None:
        state.counts["reasoning_tokens"] = count
    usage_now = _usage(state)
    return [UsageUpdate(usage_now)] if usage_now is not None and state.counts != known else []


def _usage(state: MessageState) -> Usage | None:
    return Usage(**state.counts) if state.counts else None
