"""The bench of work after a sleep."""

from __future__ import annotations

from bench.rested import WAYS, main


def test_every_way_is_measured() -> None:
    """Sleep is not counted: a token costs no more than a hundredth of a second, whatever the machine does."""
    costs = main(tokens=1)
    assert [(each.slept_ms / 1000, each.at_once) for each in costs] == list(WAYS)
    assert all(0 < each.us < 10_000 for each in costs)
