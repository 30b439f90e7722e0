"""A verdict that can't say yes to a bad run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.history import Anomaly
from tests.support.verdict import Verdict

GAP = Anomaly("gap", "v1", "2-5 after 2-3")


def test_a_good_run_passes() -> None:
    """Enough done, nothing wrong."""
    verdict = Verdict("chaos", 7, {"generations": 500}, {"generations": 500, "cut": 2}, {"cut": 2})
    assert verdict.ok
    assert verdict.render().endswith("PASS")


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (Verdict("chaos", 7, {}, anomalies=[GAP] * 20), "anomalies 20  gap: 20"),
        (Verdict("chaos", 7, {}, leaks=["key x has no TTL"]), "leak: key x has no TTL"),
        (Verdict("chaos", 7, {"kills": 3}, {"kills": 40}), "too few kills: 3 of 40"),
        (Verdict("chaos", 7, {}, {"FLUSHALL": 1}), "too few FLUSHALL: 0 of 1"),
    ],
)
def test_a_bad_run_fails_and_says_why(verdict: Verdict, words: str, tmp_path: Path) -> None:
    """On one screen, and in the file."""
    screen = verdict.render()
    assert words in screen
    assert screen.endswith("FAIL")
    assert len(screen.splitlines()) < 40
    verdict.write(tmp_path / "out" / "verdict.json")
    written = json.loads((tmp_path / "out" / "verdict.json").read_text())
    assert written["ok"] is False
    assert len(written["anomalies"]) == len(verdict.anomalies)
