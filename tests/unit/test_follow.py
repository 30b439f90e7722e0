"""The reader's logic against every order in which hints may come: READ-1 to READ-7."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import LogDamaged
from broker.events import TERMINAL_TYPES, Entry, TextDelta
from broker.follow import Follower, Page
from broker.position import START, Position
from tests.unit.strategies import logs


def page(log: list[Entry], start: Position, size: int) -> Page:
    """What Redis would answer: from the position on, inclusive."""
    count = size + (start != START)
    rows = [entry for entry in log if entry.position >= start][:count]
    return Page(rows, full=len(rows) == count, ended=isinstance(log[-1].event, TERMINAL_TYPES))


@given(logs(ended=True), st.data())
def test_read_3_any_hints_give_the_log_once_and_in_order(log: list[Entry], data: st.DataObject) -> None:
    """Notices lost, doubled, late or out of order; pages of any size: dense, in order, once, complete."""
    follower = Follower()
    got: list[Entry] = []
    written = data.draw(st.integers(1, len(log)))
    for _ in range(400):
        if follower.ended:
            break
        written = min(written + data.draw(st.integers(0, 3)), len(log))
        if data.draw(st.booleans()):
            first = data.draw(st.integers(1, written))
            last = data.draw(st.integers(first, written))
            previous = log[first - 2].position if first > 1 else START
            got += follower.on_notice(log[first - 1 : last], previous) or []
        else:
            step = follower.on_page(page(log[:written], follower.position, data.draw(st.integers(1, 4))))
            assert step.kind == "entries"
            got += step.entries
    while not follower.ended:
        got += follower.on_page(page(log, follower.position, 50)).entries
    assert got == log


@given(logs(), st.data())
def test_read_2_a_resume_gives_exactly_the_rest(log: list[Entry], data: st.DataObject) -> None:
    """From every position of the log."""
    at = data.draw(st.integers(0, len(log) - 1))
    follower = Follower(log[at].position)
    assert follower.on_page(page(log, follower.position, 100)).entries == log[at + 1 :]


@given(logs(), st.integers(1, 2000), st.integers(1, 40))
def test_read_4_a_position_that_is_not_in_the_log_never_passes(log: list[Entry], epoch: int, seq: int) -> None:
    """Another history's position resets; beyond the tail of a live log it waits first, if it has patience."""
    position = Position(epoch, seq)
    if position in [entry.position for entry in log]:
        return
    beyond = position > log[-1].position
    live = not isinstance(log[-1].event, TERMINAL_TYPES)
    step = Follower(position).on_page(page(log, position, 100))
    assert step.kind == ("ahead" if beyond and live else "reset")
    impatient = Follower(position)
    assert impatient.on_page(page(log, position, 100), patient=False).kind == "reset"
    assert impatient.position == START


@given(logs(ended=False))
def test_a_notice_of_another_history_is_not_taken(log: list[Entry]) -> None:
    """Dense by seq is not enough: what stands before it must be where the reader stands."""
    follower = Follower(log[-1].position)
    stranger = Entry(Position(log[-1].position.epoch + 500, log[-1].position.seq + 1), TextDelta(0, "x"))
    elsewhere = Position(log[-1].position.epoch + 400, log[-1].position.seq)
    assert follower.on_notice([stranger], elsewhere) is None
    assert follower.on_notice([stranger], log[-1].position) == [stranger]


@given(logs(ended=True), st.data())
def test_a_hole_is_never_read_over(log: list[Entry], data: st.DataObject) -> None:
    """An entry that is missing from a page is damage, not progress."""
    if len(log) < 3:
        return
    gone = data.draw(st.integers(1, len(log) - 2))
    with pytest.raises(LogDamaged):
        Follower().on_page(Page([*log[:gone], *log[gone + 1 :]], full=False, ended=True))


@given(logs(ended=True))
def test_a_reader_at_the_end_has_ended(log: list[Entry]) -> None:
    """Nothing follows the terminal event."""
    follower = Follower(log[-1].position)
    assert follower.on_page(page(log, follower.position, 10)).entries == []
    assert follower.ended
