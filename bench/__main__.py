"""``python -m bench``: the table of goals, measured."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from bench import machine
from bench.measure import Row
from bench.registry import DEFAULT_SYSTEMS, SCENARIOS, SYSTEMS
from bench.report import write
from bench.runner import run
from bench.scale import FULL, QUICK, SMOKE

RESULTS = Path(__file__).parent / "results"


def parse() -> argparse.Namespace:
    """The command line."""
    names = [scenario.name for scenario in SCENARIOS]
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", default=",".join(names), help=f"scenarios, of {', '.join(names)}")
    parser.add_argument("--systems", default=",".join(DEFAULT_SYSTEMS), help=f"of {', '.join(SYSTEMS)}")
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


async def main(told: argparse.Namespace) -> None:
    """Run what is asked for, print the table, write the results."""
    wanted = told.only.split(",")
    scale = SMOKE if told.smoke else QUICK if told.quick else FULL
    systems = told.systems.split(",")
    rows: list[Row] = []
    for scenario in SCENARIOS:
        if scenario.name in wanted:
            rows += await run(scenario, systems, told.rounds, scale)
    whole = len(wanted) == len(SCENARIOS) and scale is FULL
    out = told.out or (RESULTS if whole else None)
    print("\n" + write(rows, machine.describe(), out))


if __name__ == "__main__":
    machine.settle()
    asyncio.run(main(parse()))
