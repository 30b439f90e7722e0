"""Events of the Responses API: what they say in whatever order they come, and what servers leave out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import ProviderError
from broker.events import (
    ReasoningDelta,
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
    Usage,
)
from tests.providers.contract import content, text_of
from worker.providers.base import Finish, ProviderItem, UsageUpdate
from worker.providers.blocks import Blocks
from worker.providers.failures import Upstream
from worker.providers.openai_responses_map import ResponseState, events_at_end, events_from_response


def mapped(*events: object) -> list[ProviderItem]:
    """Everything a stream of these events gives."""
    state = ResponseState(Upstream("openai"), Blocks([]))
    items = [item for event in events for item in events_from_response(event, state)]
    return items + events_at_end(state)


def fails(*events: object) -> ProviderError:
    """How a stream of these events fails."""
    with pytest.raises(ProviderError) as caught:
        mapped(*events)
    return caught.value


def delta(kind: str, text: object, index: int = 0, **more: Any) -> dict[str, Any]:
    """A delta of an item."""
    return {"type": f"response.{kind}.delta", "output_index": index, "delta": text, **more}


def added(index: int, **item: Any) -> dict[str, Any]:
    """The beginning of an item."""
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def done(index: int, **item: Any) -> dict[str, Any]:
    """The end of an item."""
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def end(status: str = "completed", **more: Any) -> dict[str, Any]:
    """The end of the answer."""
    return {"type": f"response.{status}", "response": {"status": status, **more}}


def call(index: int, arguments: str = "", name: str = "f") -> dict[str, Any]:
    """A tool call as an item."""
    return {"type": "function_call", "call_id": f"c{index}", "name": name, "arguments": arguments}


def incomplete(reason: str) -> dict[str, Any]:
    """An end that cut the answer short."""
    return end("incomplete", incomplete_details={"reason": reason})


def test_parts_of_a_summary_stand_apart() -> None:
    """One item is one block, its parts a blank line apart, its signature at the end; the next item is another."""
    thought = {"type": "reasoning", "encrypted_content": "c2ln"}
    items = mapped(
        added(0, type="reasoning"),
        delta("reasoning_summary_text", "a", summary_index=0),
        delta("reasoning_summary_text", "b", summary_index=1),
        delta("reasoning_text", "c", content_index=0),
        done(0, **thought),
        added(1, type="reasoning"),
        delta("reasoning_summary_text", "d", 1, summary_index=0),
        done(1, type="reasoning"),
        end(),
    )
    assert content(items) == [
        ReasoningDelta(0, "a"), ReasoningDelta(0, "\n\n"), ReasoningDelta(0, "b"),
        ReasoningDelta(0, "\n\n"), ReasoningDelta(0, "c"), ReasoningDelta(0, "", signature="c2ln"),
        ReasoningDelta(1, "d"),
    ]  # fmt: skip


def test_a_thought_without_a_summary_keeps_its_signature() -> None:
    """It has to go back to the model although nobody may read it."""
    items = mapped(added(0, type="reasoning"), done(0, type="reasoning", encrypted_content="x"), *text_item(1), end())
    assert content(items) == [ReasoningDelta(0, "", signature="x"), TextDelta(1, "hi")]


def text_item(index: int) -> list[dict[str, Any]]:
    """A short message."""
    return [added(index, type="message"), delta("output_text", "hi", index), done(index, type="message")]


def test_messages_are_blocks_of_their_own() -> None:
    """Two messages in a row are not one."""
    assert content(mapped(*text_item(0), *text_item(1), end())) == [TextDelta(0, "hi"), TextDelta(1, "hi")]


def test_calls_side_by_side() -> None:
    """Fragments belong to the item they name."""
    items = mapped(
        added(0, **call(0)), added(1, **call(1, name="g")),
        delta("function_call_arguments", '{"a', 0), delta("function_call_arguments", "{}", 1),
        delta("function_call_arguments", '":1}', 0),
        done(1, **call(1, "{}", "g")), done(0, **call(0, '{"a":1}')), end(),
    )  # fmt: skip
    assert content(items) == [
        ToolCallStarted(0, "c0", "f"), ToolCallStarted(1, "c1", "g"),
        ToolCallDelta(0, "c0", '{"a'), ToolCallDelta(1, "c1", "{}"), ToolCallDelta(0, "c0", '":1}'),
        ToolCallCompleted(1, "c1", "g", "{}"), ToolCallCompleted(0, "c0", "f", '{"a":1}'),
    ]  # fmt: skip
    assert items[-1] == Finish("tool_calls", "completed")


@pytest.mark.parametrize("events", [
    [added(0, **call(0)), done(0, **call(0, '{"a":1}')), end()],
    [done(0, **call(0, '{"a":1}')), end()],
    [end(output=[call(0, '{"a":1}')])],
])  # fmt: skip
def test_what_no_delta_said_is_said_at_the_end(events: list[dict[str, Any]]) -> None:
    """Of the item, or of the whole: some servers send no deltas."""
    assert content(mapped(*events)) == [
        ToolCallStarted(0, "c0", "f"),
        ToolCallDelta(0, "c0", '{"a":1}'),
        ToolCallCompleted(0, "c0", "f", '{"a":1}'),
    ]


def test_a_whole_answer_says_what_its_stream_said() -> None:
    """Retrieved, it makes the same blocks."""
    parts = [{"type": "output_text", "text": "hi"}, {"type": "refusal", "refusal": "no"}]
    summary = [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]
    raw = [{"type": "reasoning_text", "text": "c"}]
    output = [{"type": "reasoning", "summary": summary, "content": raw}, {"type": "message", "content": parts}]
    items = content(mapped(end(output=output)))
    assert [(event.block, type(event).__name__) for event in items] == [
        *([(0, "ReasoningDelta")] * 5), (1, "TextDelta"), (2, "RefusalDelta"),
    ]  # fmt: skip


def test_a_cut_answer_says_what_its_stream_said() -> None:
    """Retrieved, it holds all that was said before the limit; the call that broke off stays open."""
    said = {"type": "message", "content": [{"type": "output_text", "text": "par"}]}
    cut = incomplete("max_output_tokens")
    cut["response"]["output"] = [said, call(1, '{"a":')]
    items = mapped(cut)
    assert content(items) == [TextDelta(0, "par"), ToolCallStarted(1, "c1", "f"), ToolCallDelta(1, "c1", '{"a":')]
    assert items[-1] == Finish("length", "max_output_tokens")
    streamed = mapped(added(0, type="message"), delta("output_text", "par"), cut)
    assert content(streamed) == content(items)


@pytest.mark.parametrize("parts", [["a\ud83e", "\udd8ab"], ["a", "\ud83e\udd8a", "b"]])
def test_halves_of_a_character_are_joined(parts: list[str]) -> None:
    """An emoji cut into two deltas reaches nobody in halves."""
    assert text_of(mapped(*(delta("output_text", part) for part in parts), end())) == "a\U0001f98ab"


def test_usage_in_all_its_details() -> None:
    """Cached and reasoning tokens."""
    usage = {
        "input_tokens": 10,
        "output_tokens": 7,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
        "output_tokens_details": {"reasoning_tokens": 5},
    }
    expected = Usage(10, 7, 4, 2, 5)
    assert mapped(end(usage=usage)) == [UsageUpdate(expected), Finish("stop", "completed", None, expected)]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("steered", "length")],
)
def test_incomplete_answers(reason: str, expected: Any) -> None:
    """The provider's word is kept; what is not whole never ends as if it were. An unfinished call is left open."""
    items = mapped(added(0, **call(0)), delta("function_call_arguments", '{"a'), incomplete(reason))
    assert items[-1] == Finish(expected, reason)
    assert not any(isinstance(item, ToolCallCompleted) for item in items)


@pytest.mark.parametrize(
    ("code", "ours", "again"),
    [
        ("server_error", "provider_error", True),
        ("rate_limit_exceeded", "provider_rate_limited", True),
        ("invalid_prompt", "content_rejected", False),
        ("image_content_policy_violation", "content_rejected", False),
        ("invalid_image_url", "provider_rejected", False),
        ("image_too_large", "provider_rejected", False),
        ("failed_to_download_image", "provider_rejected", False),
    ],
)
def test_failed_answers(code: str, ours: str, again: bool) -> None:
    """What failed says how, and behind a vaguer error event it is the one that is believed."""
    failed = end("failed", error={"code": code, "message": "no"})
    vague = {"type": "error", "error": {"code": "unknown", "message": "?"}}
    for events in ([failed], [vague, failed]):
        error = fails(delta("output_text", "a"), *events)
        assert (error.code, error.can_retry, error.message) == (ours, again, "openai: no")


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ([], "provider_truncated"),
        ([delta("output_text", "a"), done(0, type="message")], "provider_truncated"),
        ([end("cancelled")], "provider_error"),
        ([{"type": "response.incomplete", "response": {"status": "cancelled"}}], "provider_error"),
        ([{"type": "error", "code": "server_error", "message": "x"}], "provider_error"),
        ([{"error": {"message": "x", "code": 429}}], "provider_rate_limited"),
        ([added(0, **call(0)), delta("function_call_arguments", '{"a'), end()], "provider_malformed"),
        ([delta("output_text", ["a"]), end()], "provider_malformed"),
        ([added(0, **call(0)), delta("function_call_arguments", {"a": 1}), end()], "provider_malformed"),
        (["text"], "provider_malformed"),
        ([None], "provider_malformed"),
    ],
)
def test_no_answer(events: list[object], code: str) -> None:
    """Neither a silent end nor nonsense is an answer."""
    assert fails(*events).code == code


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.web_search_call.searching", "output_index": 0},
        {"type": "response.something_new", "delta": "x"},
        added(0, type="web_search_call"),
        done(0, type="web_search_call"),
        delta("function_call_arguments", "{}", 7),
        delta("mcp_call_arguments", "{}"),
        delta("output_text", ""),
        {"type": "response.output_text.done", "text": "x"},
    ],
)
def test_what_is_not_ours_is_passed_over(event: dict[str, Any]) -> None:
    """Repetitions, other tools' items, and whatever this API learns to say."""
    assert mapped(event, end()) == [Finish("stop", "completed")]


@pytest.mark.parametrize("kind", ["custom_tool_call", "image_generation_call", "mcp_approval_request"])
def test_an_answer_that_we_have_no_word_for_fails(kind: str) -> None:
    """It would end as if the model had said nothing; no retry helps."""
    item = {"type": kind, "call_id": "c", "input": "x", "result": "x"}
    for events in ([added(0, **item)], [done(0, **item)], [end(output=[item])]):
        error = fails(*events)
        assert (error.code, error.can_retry) == ("provider_rejected", False)
        assert kind in error.message


def test_nothing_follows_the_end() -> None:
    """What a server sends behind it is nobody's."""
    assert mapped(end(), delta("output_text", "x"), end("failed")) == [Finish("stop", "completed")]


json_values = st.recursive(
    st.none() | st.integers() | st.text(max_size=3) | st.sampled_from(["function_call", "reasoning", "message"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["type", "text", "id"]), inner),
    max_leaves=4,
)
KINDS = ["output_item.added", "output_item.done", "output_text.delta", "content_part.added", "completed", "failed"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(KINDS), json_values, json_values), max_size=5))
def test_no_shape_breaks_it(events: list[tuple[str, Any, Any]]) -> None:
    """Whatever stands where: it is understood or refused."""
    names = ("item", "part", "response", "delta", "output_index")
    bodies = [{"type": f"response.{kind}", **dict.fromkeys(names, one), "item": two} for kind, one, two in events]
    try:
        mapped(*bodies)
    except ProviderError:
        return
