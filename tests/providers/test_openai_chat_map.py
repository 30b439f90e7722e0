"""Chunks of chat completions: any split gives the same answer, and what compatible servers do to them."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ProviderError
from broker.events import ContentEvent, ReasoningDelta, TextDelta, ToolCallCompleted, ToolCallStarted, Usage
from tests.providers.contract import content, text_of
from worker.providers.base import Finish, ProviderItem, UsageUpdate
from worker.providers.blocks import Blocks
from worker.providers.failures import Upstream
from worker.providers.openai_chat_map import ChatState, events_at_end, events_from_chunk


def chunk(delta: dict[str, Any] | None = None, finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    """One chunk with one choice."""
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason, **more}]}


def call(index: int | None = 0, arguments: str | None = None, **more: Any) -> dict[str, Any]:
    """A delta with a fragment of one tool call; ``id`` and ``name`` where they are given."""
    function = {"name": more.pop("name")} if "name" in more else {}
    place = {} if index is None else {"index": index}
    return {"tool_calls": [{**place, **more, "function": {**function, "arguments": arguments}}]}


def mapped(*chunks: object, prefix: list[ContentEvent] | None = None) -> list[ProviderItem]:
    """Everything a stream of these chunks gives."""
    state = ChatState(Upstream("openai"), Blocks(prefix or []), salt="salt")
    items = [item for one in chunks for item in events_from_chunk(one, state)]
    return items + events_at_end(state)


def calls_of(items: list[ProviderItem]) -> list[tuple[int, str, str, str]]:
    """The completed tool calls."""
    return [(c.block, c.call_id, c.name, c.arguments) for c in items if isinstance(c, ToolCallCompleted)]


def fails(*chunks: object) -> ProviderError:
    """How a stream of these chunks fails."""
    with pytest.raises(ProviderError) as caught:
        mapped(*chunks)
    return caught.value


DONE = chunk({}, "tool_calls")
STOP = chunk({}, "stop")


def pieces(text: str, cuts: list[int]) -> list[str]:
    """The text, cut at these places."""
    places = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[start:end] for start, end in pairwise(places)]


@given(st.dictionaries(st.text(), st.text()), st.lists(st.integers(0, 10_000), max_size=9), st.booleans())
def test_any_split_of_arguments_is_the_same_call(arguments: dict[str, str], cuts: list[int], ascii_only: bool) -> None:
    """Fragments may be cut anywhere, also inside a character or its escape."""
    whole = json.dumps(arguments, ensure_ascii=ascii_only).encode(errors="replace").decode()
    chunks = [chunk(call(0, fragment)) for fragment in pieces(whole, cuts)]
    items = mapped(chunk(call(0, id="c1", name="f")), *chunks, DONE)
    assert calls_of(items) == [(0, "c1", "f", whole)]


@given(st.text(st.characters(exclude_categories=["Cs"])), st.lists(st.integers(0, 10_000), max_size=9))
def test_any_split_of_text_is_the_same_text(text: str, cuts: list[int]) -> None:
    """One block of text, whatever the cuts, also between the halves of a character."""
    units = "".join(
        chr(int.from_bytes(data, "little"))
        for data in (text.encode("utf-16-le")[at : at + 2] for at in range(0, len(text.encode("utf-16-le")), 2))
    )
    items = mapped(*(chunk({"content": piece}) for piece in pieces(units, cuts)), STOP)
    assert text_of(items) == text
    assert {event.block for event in content(items)} <= {0}


@given(st.data())
def test_interleaved_calls_come_apart(data: st.DataObject) -> None:
    """Fragments of parallel calls, in any order that keeps each call's own, are whole calls."""
    wanted = [json.dumps({"n": index, "text": "é🙂" * index}, ensure_ascii=False) for index in range(3)]
    queues = [list(reversed(pieces(text, data.draw(st.lists(st.integers(0, 99), max_size=4))))) for text in wanted]
    chunks = [chunk(call(index, id=f"c{index}", name=f"f{index}")) for index in range(3)]
    while any(queues):
        index = data.draw(st.sampled_from([index for index, queue in enumerate(queues) if queue]))
        chunks.append(chunk(call(index, queues[index].pop())))
    items = mapped(*chunks, DONE)
    assert calls_of(items) == [(index, f"c{index}", f"f{index}", wanted[index]) for index in range(3)]


def test_kinds_in_turn_get_blocks_in_turn() -> None:
    """A new block whenever the kind changes; a tool call keeps its own."""
    items = mapped(
        chunk({"reasoning": "a"}),
        chunk({"reasoning_content": "b"}),
        chunk({"content": "c", "reasoning_content": None}),
        chunk(call(0, "{", id="c1", name="f")),
        chunk({"content": "d"}),
        chunk(call(0, "}")),
        DONE,
    )
    blocks = [(type(event).__name__, event.block) for event in content(items)]
    assert blocks == [
        ("ReasoningDelta", 0),
        ("ReasoningDelta", 0),
        ("TextDelta", 1),
        ("ToolCallStarted", 2),
        ("ToolCallDelta", 2),
        ("TextDelta", 3),
        ("ToolCallDelta", 2),
        ("ToolCallCompleted", 2),
    ]


def test_half_a_character_stays_in_its_block() -> None:
    """What is held back is said, as a replacement, before another block begins, and at the end."""
    items = mapped(chunk({"content": "a\ud83e"}), chunk({"reasoning": "b\ud83e"}), STOP)
    assert content(items) == [
        TextDelta(0, "a"),
        TextDelta(0, "\ufffd"),
        ReasoningDelta(1, "b"),
        ReasoningDelta(1, "\ufffd"),
    ]


def test_continuing_goes_on_in_the_prefix_block() -> None:
    """After a prefix of text, text stays in its block; anything else starts a new one."""
    prefix: list[ContentEvent] = [ReasoningDelta(0, "hm"), TextDelta(1, "He")]
    items = mapped(chunk({"content": "llo"}), chunk({"reasoning": "x"}), STOP, prefix=prefix)
    assert content(items) == [TextDelta(1, "llo"), ReasoningDelta(2, "x")]
    other = mapped(chunk({"reasoning": "x"}), STOP, prefix=prefix)
    assert content(other) == [ReasoningDelta(2, "x")]


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk(call(None, '{"a":1}', id="c1", name="f")), chunk(call(None, '{"b":2}', id="c2", name="g"))],
        [chunk(call(0, '{"a":1}', id="c1", name="f")), chunk(call(0, '{"b":2}', id="c2", name="g"))],
        [
            chunk(call(None, '{"a"', id="c1", name="f")),
            chunk(call(None, ":1}")),
            chunk(call(None, '{"b":', id="c2", name="g")),
            chunk(call(None, "2}", id="c2")),
        ],
        [
            chunk(call(0, '{"a"', id="c1", name="f")),
            chunk(call(0, ":1}", id="c1", name="f")),
            chunk(call(1, '{"b":2}', id="c2", name="g")),
        ],
    ],
    ids=["no index, whole", "index 0 for all", "no index, fragments", "id and name in each"],
)
def test_servers_that_number_calls_badly(chunks: list[dict[str, Any]]) -> None:
    """Without an index, with the same for all, with everything repeated: two calls are two calls."""
    items = mapped(*chunks, DONE)
    assert calls_of(items) == [(0, "c1", "f", '{"a":1}'), (1, "c2", "g", '{"b":2}')]


def test_a_missing_id_is_made_up() -> None:
    """Calls without ids get different ones; one that comes late changes nothing."""
    items = mapped(
        chunk(call(0, "{", name="f")), chunk(call(0, "}", id="late", name="f")), chunk(call(1, name="g")), DONE
    )
    assert calls_of(items) == [(0, "call_salt_0", "f", "{}"), (1, "call_salt_1", "g", "{}")]


def test_a_late_name_holds_the_call_back() -> None:
    """A call is announced once its name is known, with all of its arguments."""
    items = mapped(chunk(call(0, '{"a"', id="c1")), chunk(call(0, ":1}", name="f")), DONE)
    assert content(items)[0] == ToolCallStarted(0, "c1", "f")
    assert calls_of(items) == [(0, "c1", "f", '{"a":1}')]


def test_the_old_function_call() -> None:
    """What tool calls were called before."""
    items = mapped(
        chunk({"function_call": {"name": "f", "arguments": ""}}),
        chunk({"function_call": {"arguments": '{"a":1}'}}),
        chunk({}, "function_call"),
    )
    assert calls_of(items) == [(0, "call_salt_0", "f", '{"a":1}')]
    assert items[-1] == Finish("tool_calls", "function_call")


def test_no_arguments_are_an_empty_object() -> None:
    """A call without arguments is complete."""
    items = mapped(chunk(call(0, "", id="c1", name="f")), chunk(call(0)), DONE)
    assert calls_of(items) == [(0, "c1", "f", "{}")]


@pytest.mark.parametrize("arguments", ['{"a":', "{'a':1}", '{"a":NaN}', "[" * 100_000, "{}{}"])
def test_broken_arguments_fail_the_answer(arguments: str) -> None:
    """A call is completed with whole, valid JSON or not at all."""
    error = fails(chunk(call(0, arguments, id="c1", name="f")), DONE)
    assert (error.code, error.can_retry) == ("provider_malformed", True)


def test_a_nameless_call_fails_the_answer() -> None:
    """Nobody can run a call without a name."""
    assert fails(chunk(call(0, "{}", id="c1")), DONE).code == "provider_malformed"


@pytest.mark.parametrize("fragment", ['{"a":', ""])
def test_a_call_cut_short_stays_open(fragment: str) -> None:
    """At the token limit an unfinished call is nobody's fault; it is not completed either."""
    items = mapped(chunk(call(0, fragment, id="c1", name="f")), chunk({}, "length"))
    assert calls_of(items) == []
    assert items[-1] == Finish("length", "length")


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("model_length", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("eos_token", "stop"),
    ],
)
def test_finish_reasons(word: str, reason: str) -> None:
    """Each word means one of ours, and is kept."""
    assert mapped(chunk({"content": "a"}), chunk({}, word))[-1] == Finish(reason, word)  # pyright: ignore[reportArgumentType]


def test_stop_with_a_call_is_a_tool_call() -> None:
    """Some servers say ``stop`` after tool calls."""
    last = mapped(chunk(call(0, "{}", id="c1", name="f")), STOP)[-1]
    assert last == Finish("tool_calls", "stop")


@pytest.mark.parametrize("word", ["error", "abort", "insufficient_system_resource"])
def test_a_given_up_answer_is_no_answer(word: str) -> None:
    """What a server could not finish did not end."""
    assert fails(chunk({"content": "a"}), chunk({}, word)).code == "provider_truncated"


def test_no_finish_reason_is_no_end() -> None:
    """A clean end of the stream is not the end of the answer."""
    error = fails(chunk({"content": "a"}))
    assert (error.code, error.can_retry) == ("provider_truncated", True)


def test_usage_in_all_its_details() -> None:
    """Cached and reasoning tokens; repeated counts are told once."""
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }
    items = mapped(STOP, {"choices": [], "usage": usage}, {"choices": [], "usage": usage})
    expected = Usage(10, 7, 4, 2, 5)
    assert items == [UsageUpdate(expected), Finish("stop", "stop", None, expected)]


def test_stop_sequence_where_it_is_told() -> None:
    """Servers like vLLM name the sequence beside the finish reason; token ids are none."""
    assert mapped(chunk({}, "stop", stop_reason="END"))[-1] == Finish("stop", "stop", "END")
    assert mapped(chunk({}, "stop", stop_reason=128009))[-1] == Finish("stop", "stop")


def test_only_the_first_choice_counts() -> None:
    """Other choices are somebody else's answers."""
    other = {"choices": [{"index": 1, "delta": {"content": "b"}, "finish_reason": "length"}]}
    assert mapped(other, chunk({"content": "a"}), STOP) == [TextDelta(0, "a"), Finish("stop", "stop")]


@pytest.mark.parametrize(
    "empty", [{"choices": []}, {"choices": None}, chunk(None), chunk({"content": ""}), {"id": "x"}]
)
def test_chunks_that_say_nothing(empty: dict[str, Any]) -> None:
    """Azure's and others' empty chunks."""
    assert mapped(empty, STOP) == [Finish("stop", "stop")]


@pytest.mark.parametrize(
    "nonsense", [None, [], "text", 3, {}, chunk({"content": ["a"]}), chunk(call(0, {"a": 1}))]  # pyright: ignore[reportArgumentType]
)  # fmt: skip
def test_nonsense_fails_the_answer(nonsense: object) -> None:
    """What is not understood is not passed over, for the answer would have a hole."""
    assert fails(nonsense, STOP).code == "provider_malformed"


def test_an_error_in_the_stream() -> None:
    """OpenRouter and others report an upstream's status as the code."""
    error = fails({"error": {"message": "upstream busy", "code": 429}})
    assert (error.code, error.can_retry, error.status) == ("provider_rate_limited", True, 429)
