"""Rounds: every system in turn within a round, so that what the machine does meanwhile hits all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from bench.goals import FAULTS
from bench.load_generator import Unsound
from bench.measure import Row
from bench.peers.registry import PEERS
from bench.registry import SYSTEMS, Alone, Scenario
from bench.scale import Scale

AT_ONCE = 3
"""Smoke runs that share the machine: most of their time is start-up."""


async def run(scenario: Scenario | Alone, systems: Sequence[str], rounds: int, scale: Scale) -> list[Row]:
    """All rounds of one scenario, one run after the other, each system started afresh for each."""
    rows: list[Row] = []
    if isinstance(scenario, Alone):
        rounds = min(rounds, scenario.most_rounds)
    for number in range(rounds):
        for name in taking_part(scenario, systems):
            begun = time.monotonic()
            made = await once(scenario, name, scale)
            rows += made
            took = time.monotonic() - begun
            print(f"  {scenario.name} {number + 1}/{rounds} {name}: {brief(made)} ({took:.0f} s)", flush=True)
    return rows


async def smoke(scenarios: Sequence[Scenario | Alone], systems: Sequence[str], scale: Scale) -> dict[str, list[Row]]:
    """One run of each, some at once: for what comes out, by scenario, not for how fast."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(scenario: Scenario | Alone, name: str) -> list[Row]:
        async with limit:
            made = await once(scenario, name, scale)
            print(f"  {scenario.name} {name}: {brief(made)}", flush=True)
            return made

    # The longest first: they are at the end of the list.
    runs = [(scenario, name) for scenario in reversed(scenarios) for name in taking_part(scenario, systems)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(scenario, name)) for scenario, name in runs]
    made: dict[str, list[Row]] = {scenario.name: [] for scenario in scenarios}
    for (scenario, _), task in zip(reversed(runs), reversed(tasks), strict=True):
        made[scenario.name] += task.result()
    return made


def taking_part(scenario: Scenario | Alone, systems: Sequence[str]) -> list[str]:
    """Which systems a scenario is measured on; one nameless run for a scenario that brings its own."""
    if isinstance(scenario, Alone):
        return [""]
    return [*(name for name in systems if name != "floor"), *(["floor"] if scenario.floor else [])]


async def once(scenario: Scenario | Alone, name: str, scale: Scale) -> list[Row]:
    """One run. One that is void is a row that says so, and its faults count."""
    if isinstance(scenario, Alone):
        return await scenario.measure(scale)
    try:
        async with SYSTEMS[name]() as system:
            return [*await scenario.measure(system, scale), Row(FAULTS, name, 0.0)]
    except NotImplementedError as error:
        return [Row(f"{scenario.name}.run", name, None, f"not possible: {error}")]
    except Unsound as error:
        return [Row(f"{scenario.name}.run", name, None, str(error)), Row(FAULTS, name, float(error.faults))]
    except Exception as error:
        if name not in PEERS:
            raise
        # Somebody else's server that fails must not cost the rest of the run.
        return [Row(f"{scenario.name}.run", name, None, f"failed: {type(error).__name__}: {error}")]


def brief(rows: Sequence[Row]) -> str:
    """One line for whoever waits."""
    several = len({row.system for row in rows}) > 1
    shown = ", ".join(
        f"{row.system + ' ' if several else ''}{row.metric.partition('.')[2]} "
        f"{'-' if row.value is None else f'{row.value:,.4g}'}"
        for row in rows
        if row.metric != FAULTS
    )
    said = {row.note for row in rows if row.note}
    return f"{shown} [{'; '.join(sorted(said))}]" if said else shown
