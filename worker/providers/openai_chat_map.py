"""Chunks of ``/chat/completions`` as events, OpenAI's own and what compatible servers make of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from broker.dialects.sealed import sign_call, signed_call
from broker.events import ContentEvent, FinishReason, ReasoningDelta, RefusalDelta, TextDelta, Usage
from worker.providers.base import Finish, ProviderItem, UsageUpdate
from worker.providers.blocks import Blocks, ToolDraft, malformed
from worker.providers.failures import Upstream
from worker.providers.shapes import as_count, as_dict, as_list, as_str
from worker.providers.surrogates import mend

FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "model_length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
}
"""``finish_reason`` up to its first colon, in small letters -> ours; words not listed mean ``stop``, and the provider's
own word is kept beside it."""

_BROKEN_REASONS = frozenset({"error", "abort", "cancelled", "insufficient_system_resource"})
"""What servers call the end of an answer that they could not finish."""
_CUT_SHORT = frozenset({"length", "content_filter", "refusal"})
"""Ends after which an unfinished tool call is nobody's fault: it is left open."""


@dataclass(slots=True)
class ChatState:
    """What has to be remembered between the chunks of one answer."""

    upstream: Upstream
    blocks: Blocks
    salt: str
    """Makes ids for tool calls of servers that send none."""
    drafts: list[ToolDraft] = field(default_factory=list[ToolDraft])
    by_index: dict[int, ToolDraft] = field(default_factory=dict[int, ToolDraft])
    finish_reason: str = ""
    stop_sequence: str | None = None
    refused: bool = False
    usage: Usage | None = None


def events_from_chunk(chunk: object, state: ChatState) -> list[ProviderItem]:
    """What one chunk says. Raises :class:`broker.errors.ProviderError` for an error or nonsense inside the stream."""
    body = as_dict(chunk)
    if not body:
        raise malformed("a chunk is not a JSON object")
    if body.get("error"):
        raise state.upstream.refused(None, body, {})
    items: list[ProviderItem] = []
    for choice in map(as_dict, as_list(body.get("choices"))):
        if not choice.get("index"):
            items += _from_choice(choice, state)
    usage = _usage(as_dict(body.get("usage")))
    if usage is not None and usage != state.usage:
        state.usage = usage
        items.append(UsageUpdate(usage))
    return items


def events_at_end(state: ChatState) -> list[ProviderItem]:
    """What follows from the end of the stream: open blocks are ended, then the :class:`Finish`.

    Raises :class:`broker.errors.ProviderError`: ``provider_truncated`` without a finish reason, ``provider_malformed``
    for a tool call that is not whole although the provider says that the answer is.
    """
    if not state.finish_reason:
        raise state.upstream.truncated()
    if state.finish_reason in _BROKEN_REASONS:
        message = f"the provider gave up ({state.finish_reason})"
        raise state.upstream.error(message, code="provider_truncated", retryable=True)
    reason = _reason(state)
    items: list[ProviderItem] = [*state.blocks.close()]
    for draft in state.drafts:
        items += draft.complete(cut_short=reason in _CUT_SHORT)
    items.append(Finish(reason, state.finish_reason, state.stop_sequence, state.usage))
    return items


def _reason(state: ChatState) -> FinishReason:
    reason = FINISH_REASONS.get(state.finish_reason.partition(":")[0].lower(), "stop")
    if reason == "stop" and state.refused:
        return "refusal"
    if reason == "stop" and state.drafts:
        return "tool_calls"
    return reason


def _from_choice(choice: dict[str, Any], state: ChatState) -> list[ContentEvent]:
    delta = as_dict(choice.get("delta"))
    blocks = state.blocks
    events = blocks.prose(ReasoningDelta, _text(delta, "reasoning_content") or _text(delta, "reasoning"))
    events += blocks.prose(TextDelta, _text(delta, "content"))
    if refusal := _text(delta, "refusal"):
        state.refused = True
        events += blocks.prose(RefusalDelta, refusal)
    calls = as_list(delta.get("tool_calls"))
    if legacy := as_dict(delta.get("function_call")):
        calls = [*calls, {"index": 0, "function": legacy}]
    for call in map(as_dict, calls):
        events += _from_tool_call(call, state)
    if reason := as_str(choice.get("finish_reason")):
        state.finish_reason = reason
        state.stop_sequence = as_str(choice.get("stop_reason")) or state.stop_sequence
    return events


def _text(delta: dict[str, Any], name: str) -> str:
    value = delta.get(name)
    if value is not None and not isinstance(value, str):
        raise malformed(f"delta.{name} is not text")
    return value or ""


def _from_tool_call(call: dict[str, Any], state: ChatState) -> list[ContentEvent]:
    function = as_dict(call.get("function"))
    name, arguments = as_str(function.get("name")), function.get("arguments")
    if arguments is not None and not isinstance(arguments, str):
        raise malformed("the arguments of a tool call are not text")
    draft = _draft(as_count(call.get("index")), as_str(call.get("id")), name, state)
    if not draft.name:
        draft.name = mend(name)
        _sign(draft, call, state)
    return draft.feed(arguments or "", state.blocks)


def _sign(draft: ToolDraft, call: dict[str, Any], state: ChatState) -> None:
    """Gemini signs the first call of an answer, and refuses the next turn without that; the id carries it there."""
    signature = as_str(as_dict(as_dict(call.get("extra_content")).get("google")).get("thought_signature"))
    if signature:
        draft.call_id = sign_call(draft.call_id, state.upstream.name, mend(signature))


def _draft(index: int | None, call_id: str, name: str, state: ChatState) -> ToolDraft:
    """The call a fragment belongs to: by index; by id where a server sends none, or 0 for all of them."""
    if index is None:
        known = [draft for draft in state.drafts if _own_id(draft) == call_id] if call_id else state.drafts[-1:]
        draft = known[0] if known and not (name and not call_id) else None
    else:
        draft = state.by_index.get(index)
        if draft is not None and name and call_id and _own_id(draft) not in (call_id, _made_id(state, draft)):
            draft = None
    if draft is None:
        taken = any(_own_id(draft) == call_id for draft in state.drafts)
        draft = ToolDraft(f"call_{state.salt}_{len(state.drafts)}" if taken or not call_id else call_id)
        state.drafts.append(draft)
    if index is not None:
        state.by_index[index] = draft
    return draft


def _own_id(draft: ToolDraft) -> str:
    return signed_call(draft.call_id).id


def _made_id(state: ChatState, draft: ToolDraft) -> str:
    return f"call_{state.salt}_{state.drafts.index(draft)}"


def _usage(usage: dict[str, Any]) -> Usage | None:
    if not usage:
        return None
    prompt, completion = as_dict(usage.get("prompt_tokens_details")), as_dict(usage.get("completion_tokens_details"))
    return Usage(
        input_tokens=as_count(usage.get("prompt_tokens")),
        output_tokens=as_count(usage.get("completion_tokens")),
        cache_read_input_tokens=as_count(prompt.get("cached_tokens")),
        cache_creation_input_tokens=as_count(prompt.get("cache_write_tokens")),
        reasoning_tokens=as_count(completion.get("reasoning_tokens")),
    )
