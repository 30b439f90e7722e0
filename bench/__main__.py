"""``python -m bench``: the table of goals, measured."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from bench import machine
from bench.measure import Row
from bench.peers.registry import skipped
from bench.registry import SCENARIOS, SYSTEMS, default_systems
from bench.report import write
from bench.runner import run, smoke
from bench.scale import FULL, QUICK, SMOKE

RESULTS = Path(__file__).parent / "results"


def parse() -> argparse.Namespace:
    """The command line."""
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", default=",".join(names), help=f"scenarios, of {', '.join(names)}")
    parser.add_argument("--systems", default=",".join(default_systems()), help=f"of {', '.join(SYSTEMS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="shorter rounds, for work on one figure")
    parser.add_argument("--smoke", action="store_true", help="tiny rounds that only show that everything works")
    parser.add_argument("--out", type=Path, help="where the results go; default: bench/results for a whole run")
    told = parser.parse_args()
    for value, known in ((told.only, names), (told.systems, SYSTEMS)):
        unknown = set(value.split(",")) - set(known)
        if unknown:
            parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return told


async def main(told: argparse.Namespace) -> int:
    """Run what is asked for, print the table, write the results; answers how many runs of ours are void."""
    wanted = told.only.split(",")
    scale = SMOKE if told.smoke else QUICK if told.quick else FULL
    systems = told.systems.split(",")
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in wanted]
    rows: list[Row] = []
    if scale is SMOKE:
        rows = await smoke(scenarios, systems, scale)
    else:
        for scenario in scenarios:
            rows += await run(scenario, systems, told.rounds, scale)
    whole = len(wanted) == len(SCENARIOS) and scale is FULL
    out = told.out or (RESULTS if whole else None)
    print("\n" + write(rows, {**machine.describe(), "left_out": skipped()}, out))
    void = [row for row in rows if row.metric.endswith(".run") and row.note.startswith("void") and is_ours(row.system)]
    for row in void:
        print(f"VOID: {row.metric.partition('.')[0]}, {row.system}: {row.note}")
    return len(void)


def is_ours(system: str) -> bool:
    """Whether a void run of this system is a failure of the product; a peer may lose what it likes."""
    return system.startswith("ours")


if __name__ == "__main__":
    machine.settle()
    sys.exit(1 if asyncio.run(main(parse())) else 0)
