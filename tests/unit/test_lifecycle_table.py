"""The state table written out a second time, cell by cell: which status each event leads to from each status."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import IllegalTransition
from broker.events import Event, event_type
from broker.lifecycle import NEXT, advance
from broker.record import ENDED, Status
from tests.unit.strategies import SAMPLES

EVENTS = [
    *("generation.created", "generation.started", "generation.retrying", "text.delta", "reasoning.delta"),
    *("refusal.delta", "tool_call.started", "tool_call.delta", "tool_call.completed"),
    *("generation.completed", "generation.failed", "generation.cancelled"),
]
# q = queued, r = running, c = completed, f = failed, x = cancelled, . = may not happen; a column for each event above.
TABLE: dict[Status | None, str] = {
    None: "q...........",
    "queued": ".r........fx",
    "running": ".rrrrrrrrcfx",
    "completed": "............",
    "failed": "............",
    "cancelled": "............",
}
LETTERS = {"q": "queued", "r": "running", "c": "completed", "f": "failed", "x": "cancelled"}
BY_TYPE = {event_type(event): event for event in SAMPLES}


@pytest.mark.parametrize("status", TABLE)
@pytest.mark.parametrize("column", range(len(EVENTS)), ids=EVENTS)
def test_each_cell_says_this_status(status: Status | None, column: int) -> None:
    """Seventy-two cells; what is refused says who may not follow what."""
    event, letter = BY_TYPE[EVENTS[column]], TABLE[status][column]
    if letter in LETTERS:
        assert advance(status, event) == LETTERS[letter]
    else:
        with pytest.raises(IllegalTransition, match=rf"{type(event).__name__} may not follow in status {status}"):
            advance(status, event)


def test_the_table_is_whole() -> None:
    """Every status and every type of event is in it, here and there."""
    assert set(TABLE) == set(NEXT) == {None, *get_args(Status)}
    assert set(EVENTS) == set(BY_TYPE)
    assert all(len(row) == len(EVENTS) for row in TABLE.values())


@given(st.lists(st.sampled_from(SAMPLES), max_size=12))
def test_every_walk_is_created_begins_and_ends_once(events: list[Event]) -> None:
    """Whatever is tried: what got through is one creation, then work, then at most one end."""
    status: Status | None = None
    passed: list[str] = []
    for event in events:
        try:
            status = advance(status, event)
        except IllegalTransition:
            continue
        passed.append(event_type(event))
        assert (status in ENDED) == (passed[-1] in EVENTS[-3:])
    assert passed[:1] in ([], ["generation.created"])
    assert passed.count("generation.created") == min(len(passed), 1)
    assert not set(passed[:-1]) & set(EVENTS[-3:])
    content = [place for place, name in enumerate(passed) if "." in name and not name.startswith("generation.")]
    assert not content or "generation.started" in passed[: content[0]]
