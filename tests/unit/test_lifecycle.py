"""The state table, every cell of it."""

from __future__ import annotations

from typing import get_args

import pytest

from broker.errors import IllegalTransition
from broker.events import (
    CONTENT_TYPES,
    EVENT_TYPES,
    TERMINAL_TYPES,
    Cancelled,
    Created,
    Event,
    Failed,
    Retrying,
    Started,
    event_type,
)
from broker.lifecycle import NEXT, advance
from broker.record import ENDED, Status
from tests.unit.strategies import SAMPLES

STATUSES: list[Status | None] = [None, *get_args(Status)]
ALLOWED: dict[Status | None, tuple[type[Event], ...]] = {
    None: (Created,),
    "queued": (Started, Failed, Cancelled),
    "running": (Started, Retrying, *CONTENT_TYPES, *TERMINAL_TYPES),
}


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("event", SAMPLES, ids=event_type)
def test_every_cell(status: Status | None, event: Event) -> None:
    """What may happen leads to a status; what may not is refused."""
    if type(event) in ALLOWED.get(status, ()):
        assert advance(status, event) in get_args(Status)
    else:
        with pytest.raises(IllegalTransition):
            advance(status, event)


def test_the_samples_are_all_there_is() -> None:
    """A new type of event must be put into the table."""
    assert {event_type(event) for event in SAMPLES} == {event_type(kind) for kind in EVENT_TYPES}


def test_ends_are_final() -> None:
    """Nothing follows a terminal event, and only terminal events end."""
    assert {status for status, following in NEXT.items() if not following} == ENDED
    for following in NEXT.values():
        for kind, status in following.items():
            assert (status in ENDED) == (kind in TERMINAL_TYPES)
