"""The checker itself, on histories made bad by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.history import Facts, Paid, Seen, Viewer, answer, check

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


TEXT = "[2-3][2-4][2-5]"
FORK = [*GOOD[:4], seen("7-5", text="[2-5]"), seen("7-6", "generation.completed")]


def judged(history: list[Seen], facts: Facts, *, gave_up: bool = False) -> set[str]:
    """The anomalies of one viewer, by what else is known."""
    viewer = Viewer("v", GENERATION, history, 0 if gave_up else 1, gave_up)
    return {anomaly.name for anomaly in check([viewer], {GENERATION: GOOD}, facts)}


def test_a_viewer_fits_into_one_history_whole() -> None:
    """A server that forgot makes two logs of one; a mixture of both is none of them."""
    facts = Facts(forks={GENERATION: [FORK]}, texts={GENERATION: TEXT})
    assert judged(GOOD, facts) == set()
    assert judged(FORK, facts) == set()
    assert judged(FORK, Facts()) == {"phantom"}
    mixture = [*GOOD[:5], seen("7-6", "generation.completed")]
    assert judged(mixture, facts) == {"phantom"}


def test_nobody_is_left_with_what_the_provider_did_not_say() -> None:
    """Completed: all of it; otherwise a beginning of it."""
    facts = Facts(texts={GENERATION: TEXT})
    assert judged(GOOD, facts) == set()
    assert "lost" in judged(GOOD, Facts(texts={GENERATION: TEXT + "!"}))
    assert "mixed-attempt" in judged(GOOD, Facts(texts={GENERATION: "[2-3][2-4]"}))
    failed = [*GOOD[:4], seen("2-5", "generation.failed")]
    viewer = Viewer("v", GENERATION, failed, 1)
    assert check([viewer], {GENERATION: failed}, facts) == []


def test_what_was_erased_can_not_be_followed_to_its_end() -> None:
    """Deleted or flushed: no terminal event is owed, order is."""
    assert judged(GOOD[:4], Facts(gone={GENERATION}), gave_up=True) == set()
    assert judged([*GOOD[:3], GOOD[4]], Facts(gone={GENERATION}), gave_up=True) == {"gap"}


@pytest.mark.parametrize(
    ("started", "closed", "found"),
    [(1.0, 10.9, set[str]()), (1.0, 11.5, {"unpaid-cancel"}), (1.0, None, {"unpaid-cancel"}), (12.0, 12.5, set[str]())],
)
def test_a_cancel_reaches_the_provider(started: float, closed: float | None, found: set[str]) -> None:
    """Its socket is closed within the bound, also that of a call that began in the same moment."""
    facts = Facts(cancelled={GENERATION: 10.0}, paid=[Paid(GENERATION, started, closed)])
    assert judged(GOOD, facts) == found
    assert judged(GOOD, Facts(cancelled={"other": 10.0}, paid=facts.paid)) == set()
