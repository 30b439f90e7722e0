"""Positions: POS-1 to POS-4."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from broker.errors import InvalidPosition
from broker.position import START, Position, parse_position

numbers = st.integers(0, 10**16 - 1)
positions = st.builds(Position, numbers, numbers)


@given(positions)
def test_pos_1_text_round_trips(position: Position) -> None:
    """The text of a position is the id of its event."""
    assert parse_position(str(position)) == position


@pytest.mark.parametrize("text", [None, "", "0-0"])
def test_pos_2_the_start_has_three_names(text: str | None) -> None:
    """Absent, empty and 0-0."""
    assert parse_position(text) == START


@given(st.text())
@example("-1")
@example("01-1")
@example("1-1\n")
@example("1-1.2")
@example("+1-1")
@example("١-١")
@example("1" * 17 + "-1")
def test_pos_3_anything_else_is_refused(text: str) -> None:
    """Only two plain decimal numbers; nothing else gets through, and nothing else is raised."""
    assume(text and not re.fullmatch(r"(0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15})", text, re.ASCII))
    with pytest.raises(InvalidPosition):
        parse_position(text)


@given(positions, positions)
def test_pos_4_epochs_order_first(one: Position, two: Position) -> None:
    """The order is that of Redis: epoch, then seq."""
    assert (one < two) == ((one.epoch, one.seq) < (two.epoch, two.seq))
