"""The incremental parser says what the standard's says, however the bytes are split."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.sse import Frame, SSEOverflow, SSEParser
from tests.support.whatwg import parse

LINES = st.sampled_from(
    [
        "data: one",
        "data:two",
        "data",
        "data:  spaced",
        "event: text.delta",
        "event",
        "id: 7-1",
        "id:",
        "id: a\0b",
        "retry: 250",
        "retry: soon",
        ": hb",
        "other: field",
        "data: é🙂",
        "",
    ]
)
ENDS = st.sampled_from(["\n", "\r", "\r\n"])
BODIES = st.lists(st.tuples(LINES, ENDS), max_size=30).map(lambda lines: "".join(a + b for a, b in lines).encode())


def feed_split(body: bytes, cuts: list[int]) -> tuple[list[Frame], SSEParser]:
    """Feed the body cut at these places."""
    parser = SSEParser()
    frames: list[Frame] = []
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        frames.extend(parser.feed(body[start:end]))
    return frames, parser


@given(BODIES, st.lists(st.integers(0, 10_000), max_size=20))
def test_any_split_gives_the_same_events(body: bytes, cuts: list[int]) -> None:
    """Also inside a character, a CRLF, a byte order mark."""
    whole, _ = feed_split(body, [])
    split, _ = feed_split(body, cuts)
    assert split == whole


@given(BODIES)
def test_it_agrees_with_the_standards_parser(body: bytes) -> None:
    """Event for event with one written from the standard alone."""
    frames, _ = feed_split(body, [])
    expected = parse(body)
    assert [(frame.event, frame.data) for frame in frames] == [(event.type, event.data) for event in expected]
    assert [frame.id for frame in frames if frame.id] == [
        frame.id for frame, event in zip(frames, expected, strict=True) if frame.id and frame.id == event.last_event_id
    ]


def test_one_byte_at_a_time() -> None:
    """The slowest of networks."""
    body = '\ufeffretry: 900\nid: 7-3\nevent: text.delta\ndata: {"a":\ndata: 1}\n\n: hb\n'.encode()
    frames, parser = feed_split(body, list(range(len(body))))
    assert frames == [Frame("text.delta", '{"a":\n1}', "7-3")]
    assert parser.retry_s == 0.9
    assert parser.last_event_id == "7-3"


def test_an_event_without_an_id_of_its_own_says_so() -> None:
    """Wire-only events move no cursor."""
    frames, parser = feed_split(b"id: 7-3\ndata: a\n\ndata: b\n\n", [])
    assert [frame.id for frame in frames] == ["7-3", None]
    assert parser.last_event_id == "7-3"


def test_a_block_without_data_is_no_event_but_moves_the_cursor() -> None:
    """As the standard has it."""
    frames, parser = feed_split(b"id: 7-4\nevent: x\n\n", [])
    assert frames == []
    assert parser.last_event_id == "7-4"


@pytest.mark.parametrize("body", [b"data: " + b"x" * 200, b"data: xxxxxxxxxx\n" * 20])
def test_what_is_too_large_is_refused(body: bytes) -> None:
    """One endless line, or one endless event: memory stays bounded."""
    with pytest.raises(SSEOverflow):
        SSEParser(limit=100).feed(body)
