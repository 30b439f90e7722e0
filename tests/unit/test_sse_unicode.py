"""Frames and all of Unicode: what was put in comes out of a parser that knows only the standard, in any chunks."""

from __future__ import annotations

import json
import re
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.sse import HEARTBEAT, encode_frame, encode_retry
from broker.events import TextDelta, event_from_json, event_to_json
from tests.contracts.histories import wicked
from tests.support.whatwg import EventSourceParser, ServerSentEvent, parse

PLANE = 0x10000
nasty = st.lists(st.sampled_from([*wicked, ":", "data", "id", "event", "retry: 1", " ", "x"]), max_size=8).map("".join)


def as_read(data: str) -> str:
    """What the standard makes of line ends in data."""
    return re.sub("\r\n|\r", "\n", data)


@pytest.mark.parametrize("plane", range((sys.maxunicode + 1) // PLANE))
def test_every_character_there_is(plane: int) -> None:
    """U+0000 to U+10FFFF, all of them but lone surrogates: in bare data; those of plane 0 in JSON, id and name too."""
    points = [chr(n) for n in range(plane * PLANE, (plane + 1) * PLANE) if not 0xD800 <= n <= 0xDFFF]
    text = "".join(points)
    safe = text.translate(dict.fromkeys(map(ord, "\r\n\0")))
    if plane:
        assert [event.data for event in parse(encode_frame(text.encode()))] == [text]
        return
    (event,) = parse(encode_frame(text.encode(), event_id=safe, event=safe))
    assert event == ServerSentEvent(as_read(text), safe, safe)
    (event,) = parse(encode_frame(event_to_json(TextDelta(0, text))))
    assert "\n" not in event.data
    assert event_from_json(event.data) == TextDelta(0, text)


@given(st.lists(nasty, min_size=1, max_size=4), st.lists(st.integers(0, 400), max_size=8), st.booleans())
def test_nasty_text_in_any_chunks(texts: list[str], marks: list[int], beat: bool) -> None:
    """Text that looks like fields, line ends of every kind, at any split and byte by byte."""
    frames = [encode_frame(text.encode(), event_id=f"7-{n}", event="e") for n, text in enumerate(texts, 1)]
    body = (HEARTBEAT if beat else b"").join([encode_retry(1000) + frames[0], *frames[1:]])
    expected = [ServerSentEvent(as_read(text), "e", f"7-{n}") for n, text in enumerate(texts, 1)]
    edges = [0, *sorted(min(mark, len(body)) for mark in marks), len(body)]
    for chunks in ([body[a:b] for a, b in pairwise(edges)], [body[n : n + 1] for n in range(len(body))]):
        parser = EventSourceParser()
        got = [event for chunk in chunks for event in parser.feed(chunk)]
        assert got == expected
        assert (parser.ignored, parser.empty_blocks, parser.pending) == ([], 0, False)
        assert (parser.retry_ms, parser.last_event_id) == (1000, f"7-{len(texts)}")


@given(nasty, st.integers(0, 10**13), st.integers(1, 10**6))
def test_an_event_is_three_lines_whatever_it_says(text: str, epoch: int, seq: int) -> None:
    """Line ends inside JSON are escaped: a frame of ours has one id, one name, one line of data and a blank line."""
    frame = encode_frame(event_to_json(TextDelta(0, text)), event_id=f"{epoch}-{seq}", event="text.delta")
    head, name, data, *rest = frame.split(b"\n")
    assert (head, name, rest) == (f"id: {epoch}-{seq}".encode(), b"event: text.delta", [b"", b""])
    assert json.loads(data.removeprefix(b"data: "))["text"] == text
