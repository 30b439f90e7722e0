"""Rounds: every system in turn within a round, so that what the machine does meanwhile hits all of them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from bench.measure import Row
from bench.registry import SYSTEMS, Scenario
from bench.scale import Scale


async def run(scenario: Scenario, systems: Sequence[str], rounds: int, scale: Scale) -> list[Row]:
    """All rounds of one scenario, each system started afresh for each. Raises what a void run raises."""
    rows: list[Row] = []
    taking_part = [*systems, *(name for name in scenario.also if name not in systems)]
    for number in range(rounds):
        for name in taking_part:
            begun = time.monotonic()
            async with SYSTEMS[name]() as system:
                try:
                    made = await scenario.measure(system, scale)
                except NotImplementedError as error:
                    made = [Row(f"{scenario.name}.none", name, None, f"not possible: {error}")]
            rows += made
            print(f"  {scenario.name} {number + 1}/{rounds} {name}: {_brief(made)} ({time.monotonic() - begun:.0f} s)")
    return rows


def _brief(rows: Sequence[Row]) -> str:
    shown = ", ".join(
        f"{row.metric.partition('.')[2]} {'-' if row.value is None else f'{row.value:,.4g}'}" for row in rows
    )
    notes = {row.note for row in rows if row.note}
    return f"{shown} [{'; '.join(sorted(notes))}]" if notes else shown
