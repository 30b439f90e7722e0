"""When deltas become entries."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.events import DELTA_TYPES, ContentEvent, TextDelta, ToolCallStarted
from broker.merge import MERGE_LIMIT, can_join, delta_text
from tests.unit.strategies import content, texts
from worker.batcher import HOLD_S, Batcher, Strategy, phase_of

STRATEGIES: list[Strategy] = ["none", "time", "word", "line", "sentence"]


def said(events: list[ContentEvent]) -> list[Any]:
    """What a reader is told: neighbours that say one thing are one thing."""
    parts: list[Any] = []
    last: ContentEvent | None = None
    for event in events:
        if isinstance(event, DELTA_TYPES) and not delta_text(event) and getattr(event, "signature", None) is None:
            continue
        if last is not None and isinstance(event, DELTA_TYPES) and can_join(last, event):
            parts[-1] = (parts[-1][0], parts[-1][1] + delta_text(event))
        else:
            key = (type(event), event.block, getattr(event, "signature", None), getattr(event, "opaque", None))
            parts.append((key, delta_text(event) if isinstance(event, DELTA_TYPES) else event))
        last = event
    return parts


@given(st.lists(content, max_size=20), st.sampled_from(STRATEGIES), st.sampled_from([0.0, 0.02]))
def test_nothing_is_lost_and_nothing_moves(events: list[ContentEvent], strategy: Strategy, window_s: float) -> None:
    """Whatever the strategy, what comes out says what went in, in that order."""
    batcher = Batcher(strategy, window_s)
    out: list[ContentEvent] = []
    for at, event in enumerate(events):
        out += batcher.push(event, at / 1000)
    out += batcher.flush()
    assert said(out) == said(events)
    assert batcher.flush() == []
    assert batcher.due_at is None
    for event in out:
        if isinstance(event, DELTA_TYPES):
            delta_text(event).encode()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_first_token_never_waits(strategy: Strategy) -> None:
    """Whatever the strategy."""
    batcher = Batcher(strategy, 0.02)
    assert batcher.push(TextDelta(0, "He"), 0.0) == [TextDelta(0, "He")]
    assert batcher.due_at is None


def test_time_joins_what_comes_within_the_window() -> None:
    """Windows follow one another without a gap, whoever has something to say in them."""
    batcher = Batcher("time", 0.02)
    batcher.push(TextDelta(0, "a"), 1.0)
    assert not batcher.is_due(9.0)
    assert batcher.push(TextDelta(0, "b"), 1.001) == []
    assert batcher.due_at == 1.02
    assert [batcher.is_due(at) for at in (1.019, 1.0199999, 1.02)] == [False, True, True]
    assert batcher.push(TextDelta(0, "c"), 1.015) == []
    assert batcher.due_at == 1.02
    assert batcher.flush() == [TextDelta(0, "bc")]


@given(st.lists(st.integers(0, 10**9), min_size=1), st.integers(1, 1000), st.sampled_from([0.0, 0.25, 0.5]))
def test_answers_write_together(moments: list[int], window_ms: int, phase: float) -> None:
    """Whatever began when: the ends of windows are times that all share and a clock of milliseconds can show."""
    late = int(window_ms * phase)
    for moment in moments:
        batcher = Batcher("time", window_ms / 1000, phase=phase)
        batcher.push(TextDelta(0, "a"), moment / 1000)
        batcher.push(TextDelta(0, "b"), moment / 1000)
        assert batcher.due_at is not None
        assert batcher.due_at == (((moment - late) // window_ms + 1) * window_ms + late) / 1000
        assert moment / 1000 < batcher.due_at <= (moment + window_ms) / 1000


def test_answers_are_spread_over_the_window() -> None:
    """By halves, and each one is where it was after a takeover."""
    phases = Counter(phase_of(f"gen_{n}") for n in range(1000))
    assert set(phases) == {0.0, 0.5}
    assert min(phases.values()) > 400
    assert phase_of("gen_1") == phase_of("gen_1")


def test_none_and_a_window_of_nothing_wait_for_nothing() -> None:
    """Each delta is an entry."""
    for batcher in (Batcher("none", 0.02), Batcher("time", 0.0)):
        for n in range(3):
            assert batcher.push(TextDelta(0, str(n)), n) == [TextDelta(0, str(n))]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("word", ["Hi", " ", "there. ", "It ", "is ", "\n", "é ", "🙂 ", "so"]),
        ("line", ["Hi", " there. It is \n", "é 🙂 so"]),
        ("sentence", ["Hi", " there. ", "It is \n", "é 🙂 so"]),
    ],
)
def test_cuts_stand_at_boundaries(strategy: Strategy, expected: list[str]) -> None:
    """Character by character in; words, lines and sentences out; the first token and the flush excepted."""
    batcher = Batcher(strategy, 0.02)
    out = [*batcher.push(TextDelta(0, "Hi"), 0.0)]
    for n, character in enumerate(" there. It is \né 🙂 so"):
        out += batcher.push(TextDelta(0, character), n / 100)
    assert batcher.due_at is not None
    out += batcher.flush()
    assert [delta_text(event) for event in out if isinstance(event, TextDelta)] == expected


def test_a_word_without_an_end_is_held_for_a_second() -> None:
    """A provider that pauses must not hide what it has said."""
    batcher = Batcher("sentence", 0.02)
    batcher.push(TextDelta(0, "x"), 0.0)
    batcher.push(TextDelta(0, "y"), 5.0)
    assert batcher.due_at == 5.0 + HOLD_S


def test_other_events_push_out_what_waits() -> None:
    """Order is kept across kinds and blocks."""
    batcher = Batcher("time", 10.0)
    batcher.push(TextDelta(0, "a"), 0.0)
    batcher.push(TextDelta(0, "b"), 0.0)
    call = ToolCallStarted(1, "c", "f")
    assert batcher.push(call, 0.0) == [TextDelta(0, "b"), call]
    batcher.push(TextDelta(0, "c"), 0.0)
    assert batcher.push(TextDelta(2, "d"), 0.0) == [TextDelta(0, "c")]


@given(st.lists(texts, min_size=1, max_size=3))
def test_size_ends_the_waiting(parts: list[str]) -> None:
    """No entry grows past the merge limit by waiting."""
    batcher = Batcher("line", 10.0)
    batcher.push(TextDelta(0, "first"), 0.0)
    big = "é" * (MERGE_LIMIT // 2)
    for part in parts:
        batcher.push(TextDelta(0, part), 0.0)
    assert batcher.push(TextDelta(0, big), 0.0)
    assert batcher.due_at is None
