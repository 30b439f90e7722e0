"""From rows of rounds to one figure per metric and system: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from bench.goals import GOALS
from bench.measure import Row


@dataclass(frozen=True, slots=True)
class Summary:
    """The rounds of one metric of one system; all ``None`` where no round had a value."""

    median: float | None
    low: float
    high: float
    rounds: int
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """For the results."""
        return asdict(self)


def summarise(rows: Sequence[Row]) -> dict[tuple[str, str], Summary]:
    """(metric, system) -> its summary, in the order of the goals; the floor's ratio is added where it was measured."""
    order = {metric: place for place, metric in enumerate(GOALS)}
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in sorted([*rows, *against_floor(rows)], key=lambda row: order.get(row.metric, len(order))):
        grouped.setdefault((row.metric, row.system), []).append(row)
    return {key: summary(group) for key, group in grouped.items()}


def summary(rows: Sequence[Row]) -> Summary:
    """Of the rounds of one metric of one system."""
    values = [row.value for row in rows if row.value is not None]
    note = next((row.note for row in rows if row.note), "")
    if not values:
        return Summary(None, 0.0, 0.0, 0, note)
    goal = GOALS.get(rows[0].metric)
    middle = sum(values) if goal is not None and goal.total else median(values)
    return Summary(middle, min(values), max(values), len(values), note)


def against_floor(rows: Sequence[Row]) -> list[Row]:
    """W2's CPU per event as a multiple of the C loop's in the same round."""
    costs: dict[str, list[float]] = {}
    for row in rows:
        if row.metric == "w2.node_us" and row.value is not None:
            costs.setdefault(row.system, []).append(row.value)
    floors = costs.pop("floor", [])
    return [
        Row("w2.vs_floor", system, value / floor)
        for system, values in costs.items()
        for value, floor in zip(values, floors, strict=False)
    ]
