"""Rounds: every system in turn within a round, so that what the machine does meanwhile hits all of them."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence

from bench.measure import Row
from bench.registry import SYSTEMS, Alone, Scenario
from bench.scale import Scale


async def run(scenario: Scenario | Alone, systems: Sequence[str], rounds: int, scale: Scale) -> list[Row]:
    """All rounds of one scenario, each system started afresh for each. Raises what a void run raises."""
    rows: list[Row] = []
    for number in range(rounds):
        begun = time.monotonic()
        async for name, made in _round(scenario, systems, scale):
            rows += made
            took = time.monotonic() - begun
            print(f"  {scenario.name} {number + 1}/{rounds} {name}: {_brief(made)} ({took:.0f} s)", flush=True)
            begun = time.monotonic()
    return rows


async def _round(
    scenario: Scenario | Alone, systems: Sequence[str], scale: Scale
) -> AsyncGenerator[tuple[str, list[Row]]]:
    if isinstance(scenario, Alone):
        yield "", await scenario.measure(scale)
        return
    for name in (*systems, *(name for name in scenario.also if name not in systems)):
        async with SYSTEMS[name]() as system:
            try:
                made = await scenario.measure(system, scale)
            except NotImplementedError as error:
                made = [Row(f"{scenario.name}.none", name, None, f"not possible: {error}")]
        yield name, made


def _brief(rows: Sequence[Row]) -> str:
    shown = ", ".join(
        f"{row.system + ' ' if len({row.system for row in rows}) > 1 else ''}{row.metric.partition('.')[2]} "
        f"{'-' if row.value is None else f'{row.value:,.4g}'}"
        for row in rows
    )
    notes = {row.note for row in rows if row.note}
    return f"{shown} [{'; '.join(sorted(notes))}]" if notes else shown
