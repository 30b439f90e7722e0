"""``python -m bench``: the table of goals, measured."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from bench import machine
from bench.measure import Row
from bench.peers.registry import skipped
from bench.registry import SCENARIOS, SYSTEMS, Alone, Scenario, default_systems
from bench.report import merged, write
from bench.runner import run, smoke
from bench.scale import FULL, QUICK, SMOKE
from bench.smoke import missing, not_written

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
    parser.add_argument("--merge", action="store_true", help="keep the rest of bench/results, and write this into it")
    parser.add_argument("--out", type=Path, help="where the results go; default: bench/results for a whole run")
    told = parser.parse_args()
    for value, known in ((told.only, names), (told.systems, SYSTEMS)):
        unknown = set(value.split(",")) - set(known)
        if unknown:
            parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return told


async def main(told: argparse.Namespace) -> list[str]:
    """Run what is asked for, print the table, write the results; answers what is wrong with them."""
    wanted, systems = told.only.split(","), told.systems.split(",")
    scale = QUICK if told.quick else FULL
    scenarios = [scenario for scenario in SCENARIOS if scenario.name in wanted]
    if told.smoke:
        return await try_all(scenarios, systems, told.out)
    rows: list[Row] = []
    for scenario in scenarios:
        rows += await run(scenario, systems, told.rounds, scale)
    whole = len(wanted) == len(SCENARIOS) and scale is FULL
    out = told.out or (RESULTS if whole or told.merge else None)
    about = machine.describe()
    if told.merge:
        rows, about = merged(rows, json.loads((RESULTS / "core.json").read_text()))
    print("\n" + write(rows, {**about, "left_out": left_out(rows)}, out))
    void = [row for row in rows if row.metric.endswith(".run") and row.note.startswith("void") and is_ours(row.system)]
    return [f"VOID: {row.metric.partition('.')[0]}, {row.system}: {row.note}" for row in void]


async def try_all(scenarios: Sequence[Scenario | Alone], systems: Sequence[str], out: Path | None) -> list[str]:
    """A smoke run; answers what does not work."""
    made = await smoke(scenarios, systems, SMOKE)
    with tempfile.TemporaryDirectory() as folder:
        where = out or Path(folder)
        write([row for rows in made.values() for row in rows], machine.describe(), where)
        pictures = find_spec("matplotlib") is not None and any(scenario.name == "w2" for scenario in scenarios)
        return [*missing(made), *(f"{name} was not written" for name in not_written(where, pictures=pictures))]


def left_out(rows: Sequence[Row]) -> dict[str, str]:
    """Systems that this machine can't run and that there is no figure of, and why."""
    there = {row.system for row in rows}
    return {name: why for name, why in skipped().items() if name not in there}


def is_ours(system: str) -> bool:
    """Whether a void run of this system is a failure of the product; a peer may lose what it likes."""
    return system.startswith("ours")


if __name__ == "__main__":
    machine.settle()
    wrong = asyncio.run(main(parse()))
    for line in wrong:
        print(line, file=sys.stderr)
    sys.exit(1 if wrong else 0)
