"""The tests' own EventSource parser, on the examples of the HTML standard."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.support.whatwg import EventSourceParser, ServerSentEvent, parse


def test_the_examples_of_the_standard() -> None:
    """HTML 9.2.6: the four blocks, the two-line event, the empty data, the spaces."""
    blocks = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"
    events = parse(blocks)
    assert [event.data for event in events] == ["first event", "second event", " third event"]
    assert [event.last_event_id for event in events] == ["1", "", ""]
    assert [event.data for event in parse(b"data\n\ndata\ndata\n\ndata:")] == ["", "\n"]
    assert parse(b"data:test\n\ndata: test\n\n") == [ServerSentEvent("test"), ServerSentEvent("test")]
    assert parse(b"event: add\ndata: 73857293\n\n") == [ServerSentEvent("73857293", "add")]


def test_an_id_with_nul_is_ignored_and_a_retry_must_be_digits() -> None:
    """Both are fields whose value the standard throws away."""
    parser = EventSourceParser()
    parser.feed(b"id: 7\ndata: x\n\nid: a\0b\nretry: 1s\nnope: y\ndata: z\n\n")
    assert parser.last_event_id == "7"
    assert parser.retry_ms is None
    assert parser.ignored == ["id: a\0b", "retry: 1s", "nope: y"]


def test_blank_lines_without_data_are_counted() -> None:
    """They are what breaks openai-python."""
    parser = EventSourceParser()
    assert parser.feed(b"retry: 5\n\n: hb\n\n") == []
    assert (parser.empty_blocks, parser.retry_ms, parser.comments) == (2, 5, [" hb"])


def test_a_byte_order_mark_at_the_start_is_dropped() -> None:
    """Only there."""
    assert parse("\ufeffdata: \ufeffx\n\n".encode()) == [ServerSentEvent("\ufeffx")]


@given(st.binary(max_size=80), st.lists(st.integers(0, 80), max_size=4))
def test_no_split_matters(body: bytes, cuts: list[int]) -> None:
    """The same bytes are the same events, however they arrive."""
    parser = EventSourceParser()
    events: list[ServerSentEvent] = []
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    for start, stop in pairwise(edges):
        events += parser.feed(body[start:stop])
    assert events == parse(body)
