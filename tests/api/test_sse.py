"""The frame encoder, read back by a parser that knows only the standard."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.sse import HEARTBEAT, encode_frame, encode_retry
from tests.support.whatwg import EventSourceParser, ServerSentEvent

NAMES = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), min_size=1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    frames=st.lists(st.tuples(TEXTS, st.none() | NAMES, st.none() | NAMES), max_size=4),
    cut=st.integers(0, 200),
    beat=st.booleans(),
)
def test_what_is_encoded_is_what_a_browser_dispatches(
    frames: list[tuple[str, str | None, str | None]], cut: int, beat: bool
) -> None:
    """Any text, any id and name, at any split, with and without heartbeats between the frames."""
    body = b""
    expected: list[ServerSentEvent] = []
    last = ""
    for data, event_id, event in frames:
        body += (HEARTBEAT if beat else b"") + encode_frame(data.encode(), event_id=event_id, event=event)
        last = event_id if event_id is not None else last
        expected.append(ServerSentEvent(re.sub("\r\n|\r", "\n", data), event or "message", last))
    parser = EventSourceParser()
    assert parser.feed(body[:cut]) + parser.feed(body[cut:]) == expected
    assert parser.empty_blocks == 0
    assert parser.ignored == []
    assert not parser.pending


@pytest.mark.parametrize("bad", ["", "a\nb", "a\rb", "a\0b"])
def test_what_would_forge_a_field_is_refused(bad: str) -> None:
    """A newline in an id would let it say anything; an empty one resets the reader's cursor."""
    with pytest.raises(ValueError, match="can't stand"):
        encode_frame(b"x", event_id=bad)
    with pytest.raises(ValueError, match="can't stand"):
        encode_frame(b"x", event=bad)


def test_a_frame_is_written_as_the_contract_shows_it() -> None:
    """id, event, data, blank line; the retry in front, in the same block."""
    frame = encode_retry(1042) + encode_frame(b'{"a":1}', event_id="5-1", event="text.delta")
    assert frame == b'retry: 1042\nid: 5-1\nevent: text.delta\ndata: {"a":1}\n\n'
    parser = EventSourceParser()
    assert parser.feed(frame) == [ServerSentEvent('{"a":1}', "text.delta", "5-1")]
    assert parser.retry_ms == 1042


def test_a_heartbeat_is_a_comment_with_one_newline() -> None:
    """R1: with two, openai-python dies."""
    assert HEARTBEAT == b": hb\n"
    parser = EventSourceParser()
    assert parser.feed(encode_frame(b"x", event_id="1-1") + HEARTBEAT * 3) == [ServerSentEvent("x", "message", "1-1")]
    assert (parser.comments, parser.empty_blocks) == ([" hb"] * 3, 0)
