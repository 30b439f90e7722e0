"""Percentiles and the table they go into."""

from __future__ import annotations

from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest-rank percentile; ``share`` in 0 … 1. Raises ``ValueError`` without values."""
    if not values:
        raise ValueError("nothing was measured")
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def row(name: str, values: Sequence[float], goal: str) -> str:
    """One line of the table: milliseconds."""
    p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
    return f"| {name} | {len(values)} | {p50:.1f} | {p99:.1f} | {max(values):.1f} | {goal} |"
