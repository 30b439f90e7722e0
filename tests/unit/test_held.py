"""The writer's memory: what it says next, whatever the server forgot."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.events import Event, Mode, Started, TextDelta, decode_entry
from broker.scripts import FieldValue
from worker.held import APPEND_BYTES, Held


def started(attempt: int, mode: Mode = "restart") -> Started:
    """A beginning."""
    return Started(attempt, mode, "demo", "m")


def read(entries: list[FieldValue]) -> list[Event]:
    """What the log would say."""
    return [decode_entry(field, value) for field, value in entries]


def all_of(held: Held) -> list[tuple[int, str, Event]]:
    """Everything that is not written, portion by portion: seq, what the script is told, event."""
    out: list[tuple[int, str, Event]] = []
    while not held.all_written:
        portion = held.portion()
        told = [portion.started, *[""] * (len(portion.entries) - 1)]
        out += zip(range(portion.first, portion.first + len(told)), told, read(portion.entries), strict=True)
        held.acknowledge(portion)
    return out


def test_every_beginning_is_told_to_the_script() -> None:
    """Also the first of two that wait together, or the record would never say that it runs."""
    held = Held(2, [])
    for event in (started(1), TextDelta(0, "a"), started(2), TextDelta(0, "b")):
        held.put(event)
    assert [(seq, told) for seq, told, _ in all_of(held)] == [(2, "restart 1"), (3, ""), (4, "restart 2"), (5, "")]
    assert held.unwritten_bytes == 0


@given(st.lists(st.integers(1, APPEND_BYTES // 3), min_size=1, max_size=12), st.data())
def test_a_lost_tail_is_said_again_with_the_same_seqs(sizes: list[int], data: st.DataObject) -> None:
    """Wherever the server stands, what follows is the same as the first time."""
    held = Held(5, [])
    held.put(started(1))
    for size in sizes:
        held.put(TextDelta(0, "x" * size))
    first = all_of(held)
    top = data.draw(st.integers(4, 4 + len(first)))
    assert held.knows(top)
    assert held.rewind(top) == 4 + len(first) - top
    assert all_of(held) == first[top - 4 :]
    assert not held.knows(3)


def test_after_a_forgotten_claim_all_that_counts_is_said_again() -> None:
    """What a restart voided is gone; what a continue kept is not."""
    held = Held(2, [TextDelta(0, "void ")])
    for event in (started(1, "continue"), TextDelta(0, "too "), started(2), TextDelta(0, "a ")):
        held.put(event)
    held.put(started(3, "continue"))
    held.put(TextDelta(0, "b"))
    held.start_over(9, started(7))
    assert [event for _, _, event in all_of(held)] == [started(7), TextDelta(0, "a "), TextDelta(0, "b")]


def test_a_prefix_counts_until_something_voids_it() -> None:
    """What stood in the log before a continue is said again, too."""
    held = Held(8, [TextDelta(0, "once ")])
    held.put(started(2, "continue"))
    held.put(TextDelta(0, "more"))
    held.start_over(3, started(4))
    assert all_of(held) == [(3, "restart 4", started(4)), (4, "", TextDelta(0, "once ")), (5, "", TextDelta(0, "more"))]
    held.start_over(3, started(5))
    assert [event for _, _, event in all_of(held)] == [started(5), TextDelta(0, "once "), TextDelta(0, "more")]


def test_the_first_token_is_told_once_and_again_when_it_was_lost() -> None:
    """The record's first_token_at comes from it."""
    held = Held(2, [])
    held.put(started(1))
    assert not held.portion().first_token
    held.put(TextDelta(0, "a"))
    assert held.portion().first_token
    held.acknowledge(held.portion())
    held.put(TextDelta(0, "b"))
    assert not held.portion().first_token
    held.rewind(2)
    assert held.portion().first_token


def test_what_cannot_be_written_is_dropped() -> None:
    """The log ends behind what is written, and the size says so."""
    held = Held(2, [])
    held.put(started(1))
    held.acknowledge(held.portion())
    before = held.bytes
    held.put(TextDelta(0, "too much"))
    held.drop_unwritten()
    assert held.all_written
    assert (held.next_seq, held.bytes, held.unwritten_bytes) == (3, before, 0)
