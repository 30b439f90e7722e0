"""The short tables say what the long one says."""

from __future__ import annotations

from typing import Any

from bench.highlights import highlights, missed


def document(*rows: tuple[str, str, float | None]) -> dict[str, Any]:
    """A run's results."""
    return {"summary": [{"metric": metric, "system": system, "median": value} for metric, system, value in rows]}


def test_what_was_not_measured_is_left_out() -> None:
    """A peer that has no such figure has an empty cell; a metric that ours has not got has no row."""
    rows = highlights(
        document(("idle.kb", "naive", 40.04), ("idle.kb", "ours", 10.51), ("start.p50_ms", "naive", 470.0))
    )
    assert rows == [["Memory per idle connection, kB", "40", "", "10.5"]]


def test_only_what_misses_its_goal_is_named() -> None:
    """With how far off it is, whichever way is better, and beside the floor where that was measured."""
    rows = missed(
        document(
            ("w1_20k.node_us", "ours", 22.0),
            ("w1_20k.node_us", "floor", 9.3),
            ("w2.max_per_s", "ours", 100_000.0),
            ("idle.kb", "ours", 10.5),
            ("start.p50_ms", "ours", None),
        )
    )
    assert rows == [
        ["W1 20k tokens/s: node CPU per event, µs", "≤ 11", "22", "2x", "9.3"],
        ["W2 1000 viewers: most events/s that all keep up with, 1/s", "≥ 200,000", "100,000", "2x", ""],
    ]
