"""The checker itself, on histories made bad by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.history import Seen, Viewer, answer, check

GENERATION = "gen_x"


def seen(at: str, kind: str = "text.delta", **event: Any) -> Seen:
    """An event by its id; deltas say their own id."""
    fields: dict[str, Any] = {"text": f"[{at}]"} if kind == "text.delta" else {}
    return Seen(at, {"type": kind, **fields, **event})


CREATED = seen("1-1", "generation.created", generation={"id": GENERATION})
STARTED = seen("2-2", "generation.started", mode="restart", attempt=1)
END = seen("2-6", "generation.completed")
GOOD = [CREATED, STARTED, seen("2-3"), seen("2-4"), seen("2-5"), END]
RESET = Seen(None, {"type": "stream.reset"})
LIVE = Seen(None, {"type": "stream.live"})
RESTARTED = seen("9-5", "generation.started", mode="restart", attempt=2)


def names(
    history: list[Seen], *, clean_ends: int = 1, gave_up: bool = False, truth: list[Seen] | None = None
) -> set[str]:
    """The anomalies of one viewer."""
    viewer = Viewer("v", GENERATION, history, clean_ends, gave_up)
    return {anomaly.name for anomaly in check([viewer], {GENERATION: GOOD if truth is None else truth})}


@pytest.mark.parametrize(
    "history",
    [
        GOOD,
        [CREATED, STARTED, LIVE, *GOOD[2:]],
        [CREATED, STARTED, seen("2-5", merged=3, text="[2-3][2-4][2-5]"), END],
        [CREATED, STARTED, seen("2-3"), RESET, *GOOD],
        GOOD[3:],
    ],
    ids=["whole", "live", "merged", "reset", "resumed"],
)
def test_good_histories_pass(history: list[Seen]) -> None:
    """Nothing is seen where nothing is wrong."""
    if history[0] is GOOD[3]:
        history = [*GOOD[:3], *history]
    assert names(history) == set()


@pytest.mark.parametrize(
    ("anomaly", "history"),
    [
        ("duplicate", [*GOOD[:3], GOOD[2], *GOOD[3:]]),
        ("duplicate", [*GOOD[:4], seen("2-5", merged=2), END]),
        ("reorder", [*GOOD[:3], GOOD[4], GOOD[3], END]),
        ("gap", [*GOOD[:3], GOOD[4], END]),
        ("phantom", [*GOOD[:4], seen("3-5"), END]),
        ("after-end", [*GOOD, seen("2-7")]),
        ("foreign", [seen("1-1", "generation.created", generation={"id": "gen_y"}), *GOOD[1:]]),
        ("lost", [CREATED, STARTED, GOOD[2], seen("2-4", text=""), GOOD[4], END]),
        ("mixed-attempt", [CREATED, STARTED, GOOD[2], seen("2-4", text="[2-4] and more"), GOOD[4], END]),
    ],
)
def test_each_anomaly_is_named(anomaly: str, history: list[Seen]) -> None:
    """By the one word for it."""
    assert anomaly in names(history)


def test_ends_that_are_none() -> None:
    """A body that ended cleanly before the terminal event, or twice; and a viewer that waited in vain."""
    assert "false-end" in names(GOOD[:4], clean_ends=1)
    assert "false-end" in names(GOOD, clean_ends=2)
    assert names(GOOD[:4], clean_ends=0) == set()
    assert names(GOOD[:4], clean_ends=0, gave_up=True) == {"stuck"}


def test_a_restart_voids_what_came_before() -> None:
    """The answer is that of the last attempt; a viewer that keeps both is mixed."""
    log = [*GOOD[:4], RESTARTED, seen("9-6"), seen("9-7", "generation.completed")]
    assert answer(log) == "[9-6]"
    assert names(log, truth=log) == set()
    kept = [*GOOD[:4], seen("9-5", "generation.started", mode="continue", attempt=2), *log[5:]]
    assert names(kept, truth=log) == {"mixed-attempt"}
