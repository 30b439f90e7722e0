"""Events out of bytes: what the standard says, and the same wherever the network cuts."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from broker.errors import ProviderError
from worker.providers.sse import EventReader, load

lines = st.one_of(
    st.binary(max_size=6).map(lambda each: each.translate(None, b"\r\n")),
    st.sampled_from([b"", b" ", b"{}", b"[DONE]", b": x", "é—🙂".encode(), b"data: y"]),
)
noise = st.sampled_from([b": ping", b"event: message", b"id: 7", b"retry: 10", b"nonsense", b"datum: x", b":"])
ends = st.sampled_from([b"\n", b"\r", b"\r\n"])
cuts = st.lists(st.integers(0, 400), max_size=30)
wicked = st.lists(
    st.sampled_from(
        [b"\n", b"\r", b"\r\n", b"data:", b"data", b" ", b"x", b"\xef\xbb\xbf", b"\xff", b":", b"event: a"]
    ),
    max_size=40,
).map(b"".join)


def read(wire: bytes, at: list[int]) -> list[bytes]:
    """All events of a stream that arrives in pieces."""
    reader = EventReader()
    bounds = [0, *sorted(min(each, len(wire)) for each in at), len(wire)]
    return [data for start, end in pairwise(bounds) for data in reader.feed(wire[start:end])]


@given(
    st.lists(st.tuples(st.lists(lines, max_size=3), st.lists(noise, max_size=2)), max_size=8), ends, cuts, st.booleans()
)
def test_what_was_framed_is_read(
    events: list[tuple[list[bytes], list[bytes]]], end: bytes, at: list[int], bom: bool
) -> None:
    """Lines of data are joined, everything else is passed over, and an event without data is none."""
    wire = b"\xef\xbb\xbf" * bom
    for data, said in events:
        wire += b"".join(each + end for each in [*said, *(b"data: " + line for line in data), b""])
    whole = [b"\n".join(data) for data, _ in events]
    assert read(wire, at) == [data for data in whole if data]


@given(wicked, cuts)
@example(b"data: x\r\n\r\ndata:y\n\n", list(range(20)))
@example(b"\xef\xbb\xbfdata: x\n\n", [1, 2])
def test_cuts_make_no_difference(wire: bytes, at: list[int]) -> None:
    """Any bytes at all, cut anywhere, say the same."""
    assert read(wire, at) == read(wire, [])
    assert read(wire, list(range(len(wire)))) == read(wire, [])


@pytest.mark.parametrize(
    ("wire", "events"),
    [
        (b"data: a\n\n", [b"a"]),
        (b"data:a\r\rdata:  b\r\r", [b"a", b" b"]),
        (b"data: a\r\n", []),
        (b"data: a\ndata\ndata: b\n\n", [b"a\n\nb"]),
        (b"data\n\ndata:\n\ndata: \n\n", []),
        (b"event: x\nid: 1\n\n: y\n\n", []),
        (b"\n\n\ndata: a\n\n\n\n", [b"a"]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [b"a"]),
        (b"data: a\r\n\r\ndata: b", [b"a"]),
        (b"", []),
    ],
)
def test_what_the_standard_says(wire: bytes, events: list[bytes]) -> None:
    """Its cases, one by one."""
    assert read(wire, []) == events


def test_an_event_is_not_waited_for_because_of_a_cr() -> None:
    """A CR that ends a piece ends its line; an LF that follows later ends none."""
    reader = EventReader()
    assert reader.feed(b"data: a\r\r") == [b"a"]
    assert reader.feed(b"\ndata: b\r") == []
    assert reader.feed(b"\n") == []
    assert reader.feed(b"\r") == [b"b"]


@pytest.mark.parametrize("wire", [b"x" * 101, b"data: " + b"x" * 96, b"data: 12345678\n" * 13])
def test_a_stream_without_end_is_not_kept(wire: bytes) -> None:
    """Neither a line nor an event may grow beyond the limit, whether it comes at once or byte by byte."""
    for pieces in ([wire], [bytes([each]) for each in wire]):
        reader = EventReader(limit=100)
        with pytest.raises(ProviderError, match="larger than 100 bytes") as caught:
            for piece in pieces:
                reader.feed(piece)
        assert (caught.value.code, caught.value.can_retry) == ("provider_malformed", True)


def test_many_events_may_be_larger_than_one() -> None:
    """The limit is an event's, not the stream's."""
    reader = EventReader(limit=100)
    assert sum(len(reader.feed(b"data: 1234567890\n\n" * 5)) for _ in range(9)) == 45


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(json_values, st.booleans())
def test_json_is_read_as_python_reads_it(value: Any, ascii_only: bool) -> None:
    """Two readers, one meaning."""
    said = json.dumps(value, ensure_ascii=ascii_only)
    assert load(said.encode()) == json.loads(said)


def test_what_servers_send_all_the_same() -> None:
    """Halves of characters, which the deltas join later, and numbers that JSON does not know."""
    assert load(b'{"a":"x\\ud83e","b":1e999}') == {"a": "x\ud83e", "b": math.inf}
    assert math.isnan(load(b'{"a":NaN}')["a"])


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"{not json", json.JSONDecodeError),
        (b'{"a":1}x', json.JSONDecodeError),
        (b"[" * 100_000, json.JSONDecodeError),
        (b'{"a":"\xff"}', UnicodeDecodeError),
        (b"\xff", UnicodeDecodeError),
    ],
)
def test_what_is_not_json(data: bytes, error: type[Exception]) -> None:
    """Two kinds of errors, whatever is wrong."""
    with pytest.raises(error):
        load(data)
