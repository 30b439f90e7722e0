"""Anthropic's events: any split gives the same answer, and what else its stream may hold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ProviderError
from broker.events import ReasoningDelta, TextDelta, ToolCallCompleted, Usage
from tests.providers.contract import content, text_of
from tests.support.upstream import golden
from worker.providers.anthropic_map import MessageState, events_at_end, events_from_message
from worker.providers.base import Finish, ProviderItem, UsageUpdate
from worker.providers.blocks import Blocks
from worker.providers.failures import Upstream

STOP = {"type": "message_stop"}


def start(index: int, kind: str, **block: Any) -> dict[str, Any]:
    """A block begins."""
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **block}}


def delta(index: int, kind: str, **more: Any) -> dict[str, Any]:
    """A block goes on."""
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **more}}


def stop(index: int) -> dict[str, Any]:
    """A block ends."""
    return {"type": "content_block_stop", "index": index}


def end(reason: str | None = "end_turn", **more: Any) -> dict[str, Any]:
    """The message is about to end."""
    return {"type": "message_delta", "delta": {"stop_reason": reason, **more}, "usage": {}}


def mapped(*events: object, overlap: str = "") -> list[ProviderItem]:
    """Everything a stream of these events gives."""
    state = MessageState(Upstream("anthropic"), Blocks([]), overlap)
    items = [item for one in events for item in events_from_message(one, state)]
    return items + events_at_end(state)


def fails(*events: object) -> ProviderError:
    """How a stream of these events fails."""
    with pytest.raises(ProviderError) as caught:
        mapped(*events)
    return caught.value


@given(st.data(), st.dictionaries(st.text(), st.text()))
def test_any_split_of_arguments_is_the_same_call(data: st.DataObject, arguments: dict[str, str]) -> None:
    """Fragments may be cut anywhere."""
    whole = json.dumps(arguments, ensure_ascii=False)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    fragments = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    items = mapped(
        start(0, "tool_use", id="t1", name="f", input={}),
        *(delta(0, "input_json_delta", partial_json=fragment) for fragment in fragments),
        stop(0),
        end("tool_use"),
        STOP,
    )
    assert content(items)[-1] == ToolCallCompleted(0, "t1", "f", whole)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.sampled_from(" \n\t")))
def test_white_space_of_the_prefix_is_not_said_twice(text: str, overlap: str) -> None:
    """What the model repeats of the white space that was held back is left out, and nothing else is."""
    pieces = [delta(0, "text_delta", text=character) for character in overlap + text]
    items = mapped(start(0, "text", text=""), *pieces, stop(0), end(), STOP, overlap=overlap)
    assert text_of(items) == text


def test_white_space_that_is_not_repeated() -> None:
    """A model that goes straight on with a word loses nothing."""
    items = mapped(start(0, "text", text=""), delta(0, "text_delta", text=" w d"), end(), STOP, overlap=" \n")
    assert text_of(items) == "w d"


def test_parallel_tool_calls() -> None:
    """Each is completed as its block ends."""
    items = mapped(
        start(0, "tool_use", id="t1", name="f", input={}),
        delta(0, "input_json_delta", partial_json='{"a":1}'),
        stop(0),
        start(1, "tool_use", id="t2", name="g", input={}),
        stop(1),
        end("tool_use"),
        STOP,
    )
    done = [event for event in content(items) if isinstance(event, ToolCallCompleted)]
    assert done == [ToolCallCompleted(0, "t1", "f", '{"a":1}'), ToolCallCompleted(1, "t2", "g", "{}")]


def test_arguments_that_came_with_the_block() -> None:
    """Some servers send the whole input at once."""
    items = mapped(start(0, "tool_use", id="t1", name="f", input={"ö": 1}), stop(0), end("tool_use"), STOP)
    assert content(items)[-1] == ToolCallCompleted(0, "t1", "f", '{"ö": 1}')


def test_fragments_outrank_what_came_with_the_block() -> None:
    """An input that is sent at once and then again in fragments is one input."""
    items = mapped(
        start(0, "tool_use", id="t1", name="f", input={"old": 1}),
        delta(0, "input_json_delta", partial_json="{}"),
        stop(0),
        end("tool_use"),
        STOP,
    )
    assert content(items)[-1] == ToolCallCompleted(0, "t1", "f", "{}")


def test_broken_arguments_fail_the_answer() -> None:
    """A call is completed with whole, valid JSON or not at all."""
    broken = [start(0, "tool_use", id="t1", name="f"), delta(0, "input_json_delta", partial_json='{"a'), stop(0)]
    assert fails(*broken, end("tool_use"), STOP).code == "provider_malformed"
    cut = mapped(*broken, end("max_tokens"), STOP)
    assert cut[-1] == Finish("length", "max_tokens")
    assert not [event for event in cut if isinstance(event, ToolCallCompleted)]


def test_only_blocks_that_say_something_are_numbered() -> None:
    """Empty blocks and those of Anthropic's own tools leave no gap."""
    items = mapped(
        start(0, "text", text=""),
        stop(0),
        start(1, "server_tool_use", id="s1", name="web_search"),
        delta(1, "input_json_delta", partial_json='{"q":1}'),
        stop(1),
        start(2, "text", text="a"),
        delta(2, "citations_delta", citation={}),
        stop(2),
        start(3, "text", text=""),
        delta(3, "text_delta", text="b"),
        stop(3),
        end(),
        STOP,
    )
    assert content(items) == [TextDelta(0, "a"), TextDelta(1, "b")]


def test_a_signature_in_pieces_and_without_text() -> None:
    """Signatures are given whole, also when the thinking itself is kept back."""
    items = mapped(
        start(0, "thinking", thinking="", signature="a"),
        delta(0, "signature_delta", signature="b"),
        delta(0, "signature_delta", signature="c"),
        stop(0),
        start(1, "text", text="x"),
        stop(1),
        end(),
        STOP,
    )
    assert content(items) == [ReasoningDelta(0, "", signature="abc"), TextDelta(1, "x")]


@pytest.mark.parametrize("data", ["", "xx==", "ä\n" * 1000])
def test_redacted_thinking_to_the_byte(data: str) -> None:
    """Nothing is mended, cut or joined in it."""
    items = mapped(start(0, "redacted_thinking", data=data), stop(0), end(), STOP)
    assert content(items) == [ReasoningDelta(0, "", opaque=data)]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "refusal"),
        ("pause_turn", "stop"),
        ("something_new", "stop"),
    ],
)
def test_stop_reasons(word: str, reason: str) -> None:
    """Each word means one of ours, and is kept."""
    assert mapped(end(word), STOP)[-1] == Finish(reason, word)  # pyright: ignore[reportArgumentType]


def test_the_stop_sequence_is_named() -> None:
    """Which of the sequences it was."""
    last = mapped(end("stop_sequence", stop_sequence="END"), STOP)[-1]
    assert last == Finish("stop", "stop_sequence", "END")


def test_counts_are_cumulative() -> None:
    """What a later event does not say, an earlier one has said; a change is told at once."""
    first = {"input_tokens": 9, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2, "output_tokens": 1}
    later = {"output_tokens": 8, "output_tokens_details": {"thinking_tokens": 3}}
    items = mapped(
        {"type": "message_start", "message": {"usage": first}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": later},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 8}},
        STOP,
    )
    whole = Usage(9, 8, 4, 2, 3)
    assert items == [UsageUpdate(Usage(9, 1, 4, 2)), UsageUpdate(whole), Finish("stop", "end_turn", None, whole)]


@pytest.mark.parametrize("events", [[], [STOP], [end()], [end(None), STOP]])
def test_no_end_mark_is_no_end(events: list[object]) -> None:
    """Both ``message_stop`` and a reason are needed."""
    error = fails(*events)
    assert (error.code, error.can_retry) == ("provider_truncated", True)


def test_every_golden_but_the_failing_one_ends() -> None:
    """Cut one event short, none of them does."""
    for name in ("text", "thinking_text", "redacted_thinking", "tool_use", "refusal", "max_tokens"):
        events = [json.loads(line) for line in golden(f"anthropic_{name}")]
        assert isinstance(mapped(*events)[-1], Finish)
        for count in range(len(events)):
            assert fails(*events[:count]).code == "provider_truncated"


@pytest.mark.parametrize("event", [{"type": "ping"}, {"type": "something_new", "index": 0}])
def test_events_that_say_nothing(event: object) -> None:
    """Pings, and what this API has yet to learn."""
    assert mapped(event, end(), STOP) == [Finish("stop", "end_turn")]


@pytest.mark.parametrize("error", [{"type": "error"}, {"type": "error", "error": {}}, {"error": {"message": "m"}}])
def test_errors_in_the_stream(error: object) -> None:
    """However little they say."""
    assert fails(error, end(), STOP).code == "provider_error"


@pytest.mark.parametrize("nonsense", [None, [], "text", 3, {}])
def test_nonsense_fails_the_answer(nonsense: object) -> None:
    """What is not understood is not passed over."""
    assert fails(nonsense, end(), STOP).code == "provider_malformed"
