"""What another version, or a broken one, may have written: refused as a ValueError, and in a notice a bare hint."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from broker.events import decode_entry
from broker.notices import parse_notice
from broker.position import Position

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "type", "model"]), inner),
    max_leaves=5,
)
fields = st.sampled_from([b"j", b"c", b"t0", b"r1", b"f0", b"a0", b"t", b"tx", b""]) | st.binary(max_size=3)
values = st.binary(max_size=12) | json_values.map(msgspec.json.encode)


@given(fields, values)
@example(b"c", b"{}")
@example(b"c", b"12")
@example(b"c", b'{"id":"g","model":"m","created_at_ms":"1","metadata":{}}')
@example(b"j", b'{"type":"later.event"}')
def test_an_unreadable_entry_is_a_value_error(field: bytes, value: bytes) -> None:
    """As the codec promises: nothing else is raised, whatever stands in the log."""
    with contextlib.suppress(ValueError):
        decode_entry(field, value)


@given(st.lists(st.tuples(fields, values), min_size=1, max_size=3))
@example([(b"c", b"{}")])
@example([(b"t0", b"fine"), (b"j", b'{"type":"later.event"}')])
def test_a_well_framed_notice_with_garbage_in_it_is_a_bare_hint(rows: list[tuple[bytes, bytes]]) -> None:
    """The listener of a whole node must not die of one entry: either all of it is read, or none."""
    body = b"".join(b"%d %d\n" % (len(field), len(value)) + field + value for field, value in rows)
    notice = parse_notice(b"E 1000 2 %d 900\n" % len(rows) + body)
    try:
        events = [decode_entry(*row) for row in rows]
    except ValueError:
        assert (notice.entries, notice.top) == ([], None)
    else:
        assert [entry.event for entry in notice.entries] == events
        assert notice.top == Position(1000, 1 + len(rows))
