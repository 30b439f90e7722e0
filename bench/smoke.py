"""What a smoke run must have brought: everything ran, nothing was void, the results are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.goals import FAULTS
from bench.measure import Row

FILES = ("core.md", "core.json")
PICTURES = ("goals.svg", "latency.svg")


def missing(made: Mapping[str, Sequence[Row]]) -> list[str]:
    """What the rows of each scenario do not show: no rows at all, a void run, a fault. Pure."""
    rows = [row for each in made.values() for row in each]
    found = [f"{row.metric}, {row.system}: {row.note or 'no value'}" for row in rows if row.value is None]
    found += [
        f"{row.system}: {row.value:g} events lost or doubled" for row in rows if row.metric == FAULTS and row.value
    ]
    return [*found, *(f"{scenario} brought nothing" for scenario, each in made.items() if not each)]


def not_written(folder: Path, *, pictures: bool) -> list[str]:
    """Results that are not in a folder, or empty."""
    wanted = (*FILES, *(PICTURES if pictures else ()))
    return [name for name in wanted if not (folder / name).is_file() or not (folder / name).stat().st_size]
