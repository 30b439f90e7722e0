"""Events of OpenAI's ``/responses`` stream as ours. Pure: the same events always make the same content."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from broker.errors import ProviderError
from broker.events import (
    ContentEvent,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallCompleted,
    Usage,
)
from worker.providers.base import Finish, ProviderItem, UsageUpdate
from worker.providers.blocks import Blocks, Prose, ToolDraft, malformed
from worker.providers.failures import Upstream
from worker.providers.shapes import as_count, as_dict, as_list, as_str

INCOMPLETE_REASONS: dict[str, FinishReason] = {
    "max_output_tokens": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
}
"""``incomplete_details.reason`` -> ours; words not listed mean ``length``: the answer is not whole."""
_CUT_SHORT = frozenset({"length", "content_filter", "refusal"})
"""Ends after which an unfinished tool call is nobody's fault: it is left open."""

_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_WHOLE = frozenset({"completed", "incomplete"})
"""Statuses of answers that are not made any further, and whose output is what was said."""
_LOST = frozenset(
    {
        *("custom_tool_call", "computer_call", "local_shell_call", "shell_call", "apply_patch_call"),
        *("mcp_approval_request", "image_generation_call"),
    }
)
"""Items that ask the client for something, or are the answer, and have no event: without them it would look whole."""
_PROSE: dict[str, tuple[Prose, str, str]] = {
    "response.output_text.delta": (TextDelta, "", "content_index"),
    "response.refusal.delta": (RefusalDelta, "", "content_index"),
    "response.reasoning_summary_text.delta": (ReasoningDelta, "summary", "summary_index"),
    "response.reasoning_text.delta": (ReasoningDelta, "content", "content_index"),
    "response.reasoning.delta": (ReasoningDelta, "content", "content_index"),
}
"""Type of a delta -> what it is, in which list of its item it grows, and what says where in there."""
_PARTS: dict[str, tuple[Prose, str]] = {
    "output_text": (TextDelta, "text"),
    "refusal": (RefusalDelta, "refusal"),
    "summary_text": (ReasoningDelta, "text"),
    "reasoning_text": (ReasoningDelta, "text"),
}
"""Type of a whole part -> what it is, and where its text stands."""


@dataclass(slots=True)
class ResponseState:
    """What has to be remembered between the events of one answer."""

    upstream: Upstream
    blocks: Blocks
    id: str = ""
    """The response's own; empty until it is known."""
    drafts: dict[int, ToolDraft] = field(default_factory=dict[int, ToolDraft])
    """Tool calls by the index of their item; whole ones are taken out."""
    fed: set[int] = field(default_factory=set[int])
    """Items of which something has been said."""
    done: set[int] = field(default_factory=set[int])
    part: tuple[int, str, int] | None = None
    """Item, list and index of the part of reasoning that was said last."""
    called: bool = False
    refused: bool = False
    ended: bool = False
    reason: str = ""
    """What cut the answer short, in the provider's word."""
    failure: ProviderError | None = None
    usage: Usage | None = None


def events_from_response(event: object, state: ResponseState) -> list[ProviderItem]:
    """What one event says. Raises :class:`broker.errors.ProviderError` for nonsense; a failure is told by the end."""
    body = as_dict(event)
    if not body:
        raise malformed("an event is not a JSON object")
    if state.ended:
        return []
    kind = as_str(body.get("type"))
    if kind in _PROSE:
        return [*_said(kind, body, state)]
    if kind in _ENDS:
        return _ended(kind.removeprefix("response."), as_dict(body.get("response")), state)
    if kind == "error" or (not kind and body.get("error")):
        # OpenAI's own says more in the response.failed behind it.
        state.failure = state.upstream.refused(None, body, {})
    state.id = state.id or as_str(as_dict(body.get("response")).get("id"))
    return [*_of_item(kind, body, state)]


def events_at_end(state: ResponseState) -> list[ProviderItem]:
    """What follows from the end of the stream: open blocks are ended, then the :class:`Finish`.

    Raises :class:`broker.errors.ProviderError`: what the provider said, ``provider_truncated`` without its end mark,
    ``provider_malformed`` for a tool call that is not whole although the provider says that the answer is.
    """
    if state.failure is not None:
        raise state.failure
    if not state.ended:
        raise state.upstream.truncated()
    reason = _finish_reason(state)
    items: list[ProviderItem] = [*state.blocks.close()]
    for draft in state.drafts.values():
        items += draft.complete(cut_short=reason in _CUT_SHORT)
    items.append(Finish(reason, state.reason or "completed", None, state.usage))
    return items


def _finish_reason(state: ResponseState) -> FinishReason:
    if state.reason:
        return INCOMPLETE_REASONS.get(state.reason, "length")
    if state.refused:
        return "refusal"
    return "tool_calls" if state.called else "stop"


def _of_item(kind: str, body: dict[str, Any], state: ResponseState) -> list[ContentEvent]:
    index = as_count(body.get("output_index")) or 0
    match kind:
        case "response.output_item.added":
            return _begun(index, as_dict(body.get("item")), state)
        case "response.output_item.done":
            return _whole(index, as_dict(body.get("item")), state)
        case "response.function_call_arguments.delta":
            return _argued(index, body.get("delta"), state)
        case "response.content_part.added" if as_dict(body.get("part")).get("type") != "reasoning_text":
            return state.blocks.close()
        case _:
            # What repeats what has been said, and whatever this API may learn to say.
            return []


def _said(kind: str, body: dict[str, Any], state: ResponseState) -> list[ContentEvent]:
    prose, where, index_name = _PROSE[kind]
    delta = body.get("delta")
    if not isinstance(delta, str):
        raise malformed(f"the delta of {kind} is not text")
    index = as_count(body.get("output_index")) or 0
    part = (index, where, as_count(body.get(index_name)) or 0) if where else None
    return _say(prose, delta, index, part, state)


def _say(
    prose: Prose, text: str, index: int, part: tuple[int, str, int] | None, state: ResponseState
) -> list[ContentEvent]:
    """A piece of an item; what is thought in several parts is one block, its parts a blank line apart."""
    if not text:
        return []
    state.fed.add(index)
    if prose is RefusalDelta:
        state.refused = True
    events: list[ContentEvent] = []
    if part is not None:
        if state.part is not None and state.part != part and state.part[0] == index:
            events += state.blocks.prose(prose, "\n\n")
        state.part = part
    return events + state.blocks.prose(prose, text)


def _begun(index: int, item: dict[str, Any], state: ResponseState) -> list[ContentEvent]:
    if (kind := as_str(item.get("type"))) in _LOST:
        message = f"the answer holds a {kind}, which cannot be kept in the log"
        raise state.upstream.error(message, code="provider_rejected")
    if kind != "function_call":
        return state.blocks.close()
    draft = state.drafts[index] = ToolDraft(as_str(item.get("call_id")), as_str(item.get("name")))
    state.called = True
    return draft.feed("", state.blocks)


def _argued(index: int, fragment: object, state: ResponseState) -> list[ContentEvent]:
    if not isinstance(fragment, str):
        raise malformed("the arguments of a tool call are not text")
    draft = state.drafts.get(index)
    if draft is None or not fragment:
        # Without an item of its own it is the call of a tool that OpenAI runs itself.
        return []
    state.fed.add(index)
    return draft.feed(fragment, state.blocks)


def _whole(index: int, item: dict[str, Any], state: ResponseState) -> list[ContentEvent]:
    """The end of an item; what it holds is said now where no delta has."""
    state.done.add(index)
    match item.get("type"):
        case "function_call":
            return _called(index, item, state)
        case "reasoning":
            events = _unsaid(index, item, state)
            signature = as_str(item.get("encrypted_content"))
            if not signature:
                return [*events, *state.blocks.close()]
            block = state.blocks.reasoning_block()
            return [*events, *state.blocks.close(), ReasoningDelta(block, "", signature=signature)]
        case _:
            return [*_begun(index, item, state), *_unsaid(index, item, state), *state.blocks.close()]


def _called(index: int, item: dict[str, Any], state: ResponseState) -> list[ContentEvent]:
    events = [] if index in state.drafts else _begun(index, item, state)
    draft = state.drafts[index]
    if not draft.name:
        draft.name = as_str(item.get("name"))
    events += draft.feed("" if index in state.fed else as_str(item.get("arguments")), state.blocks)
    # A call that is not whole is judged when the reason for the end is known.
    events += draft.complete(cut_short=True)
    if events and isinstance(events[-1], ToolCallCompleted):
        del state.drafts[index]
    return events


def _unsaid(index: int, item: dict[str, Any], state: ResponseState) -> list[ContentEvent]:
    if index in state.fed:
        return []
    events: list[ContentEvent] = []
    for where in ("summary", "content"):
        for at, part in enumerate(map(as_dict, as_list(item.get(where)))):
            if (known := _PARTS.get(as_str(part.get("type")))) is not None:
                prose, name = known
                place = (index, where, at) if prose is ReasoningDelta else None
                if place is None:
                    events += state.blocks.close()
                events += _say(prose, as_str(part.get(name)), index, place, state)
    return events


def _ended(kind: str, response: dict[str, Any], state: ResponseState) -> list[ProviderItem]:
    items: list[ProviderItem] = []
    status = as_str(response.get("status")) or kind
    for index, item in enumerate(map(as_dict, as_list(response.get("output")))):
        # Retrieved, an answer that ran into its limit has said nothing before its end either.
        if index not in state.done and status in _WHOLE:
            items += _whole(index, item, state)
    state.ended = True
    state.usage = _usage(as_dict(response.get("usage")))
    if state.usage is not None:
        items.append(UsageUpdate(state.usage))
    if status == "cancelled":
        state.failure = state.upstream.error("the answer was cancelled at the provider", code="provider_error")
    elif status == "failed" or response.get("error"):
        state.failure = state.upstream.refused(None, response, {})
    else:
        state.failure = None
        reason = as_str(as_dict(response.get("incomplete_details")).get("reason"))
        state.reason = reason or ("incomplete" if status == "incomplete" else "")
    return items


def _usage(usage: dict[str, Any]) -> Usage | None:
    if not usage:
        return None
    read, written = as_dict(usage.get("input_tokens_details")), as_dict(usage.get("output_tokens_details"))
    return Usage(
        input_tokens=as_count(usage.get("input_tokens")),
        output_tokens=as_count(usage.get("output_tokens")),
        cache_read_input_tokens=as_count(read.get("cached_tokens")),
        cache_creation_input_tokens=as_count(read.get("cache_write_tokens")),
        reasoning_tokens=as_count(written.get("reasoning_tokens")),
    )
