"""Notices are hints: read when they can be, and never a danger."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.events import Entry, encode_entry
from broker.notices import Notice, parse_notice
from broker.position import Position
from tests.unit.strategies import content


@given(st.lists(content, min_size=1, max_size=6), st.integers(1, 10**6))
def test_what_the_scripts_write_is_read_back(events: list[object], first: int) -> None:
    """The framing of broker/lua/common.lua, written by hand."""
    body = b""
    for event in events:
        field, value = encode_entry(event)  # pyright: ignore[reportArgumentType] - the strategy draws content events
        body += b"%d %d\n" % (len(field), len(value)) + field + value
    notice = parse_notice(b"E 1000 %d %d 900\n" % (first, len(events)) + body)
    assert notice.entries == [Entry(Position(1000, first + n), event) for n, event in enumerate(events)]  # pyright: ignore[reportArgumentType] - likewise
    assert notice.previous == Position(900, first - 1)
    assert notice.top == Position(1000, first + len(events) - 1)


def test_a_large_batch_is_only_a_hint() -> None:
    """Without entries it says how far the log goes."""
    assert parse_notice(b"H 1000 5 3 900\n") == Notice([], Position(1000, 7), Position(900, 4), 15)


@given(st.binary())
def test_garbage_is_a_bare_hint(data: bytes) -> None:
    """Nothing is raised, and nothing is believed that is cut short."""
    notice = parse_notice(data)
    assert notice.size == len(data)
    cut = parse_notice(b"E 1 1 2 1\n2 5\nt0hello2 9\nt0hel" + data[:3].replace(b"\n", b""))
    assert cut.entries == []
