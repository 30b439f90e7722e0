"""``python -m bench.cuts [logs] [seed]``: every format, cut behind every frame of so many generated logs.

Each line is one format: logs, cuts, resumes (at every cut one reader who comes back when all is written, and one who
comes back earlier), how many of those had to be told that what they hold is void, and differences to what should have
come: see :mod:`bench.cut_check`. A difference is printed with its log, and ends the run with 1.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from random import Random

from bench.cut_check import NAMES, Tally, check, random_log

LOGS = 10_000
SEED = 5
PROCESSES = 2
_SHARE = 250
"""Logs that a process takes at a time."""
RESULTS = Path(__file__).parent / "results"


def tried(name: str, seed: int, first: int, count: int) -> Tally:
    """Logs ``first`` … through one format."""
    tally = Tally()
    for number in range(first, first + count):
        check(name, random_log(seed, number), Random(f"{seed}, {number}"), tally)
    return tally


def run(logs: int, seed: int = SEED, processes: int = PROCESSES) -> dict[str, Tally]:
    """Every format's tally."""
    shares = [(first, min(_SHARE, logs - first)) for first in range(0, logs, _SHARE)]
    work = list(itertools.product(NAMES, shares))
    tallies = {name: Tally() for name in NAMES}
    with ProcessPoolExecutor(processes) as pool:
        done = [(name, pool.submit(tried, name, seed, first, count)) for name, (first, count) in work]
        for name, future in done:
            tallies[name].add(future.result())
    return tallies


def markdown(tallies: Mapping[str, Tally]) -> str:
    """The table."""
    lines = [
        "| format | logs | cuts | resumes | of those void | differences |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {name} | {t.logs:,} | {t.cuts:,} | {t.resumes:,} | {t.voids:,} | {t.differences:,} |"
        for name, t in tallies.items()
    ]
    return "\n".join(lines) + "\n"


def main(logs: int, seed: int) -> int:
    """Run, print, and keep what a whole run brought; 1 = something differs."""
    begun = time.monotonic()
    tallies = run(logs, seed)
    print(f"{markdown(tallies)}\n{time.monotonic() - begun:.0f} s, seed {seed}")
    wrong = [tally.first for tally in tallies.values() if tally.differences]
    print("\n".join(wrong), end="", file=sys.stderr)
    if logs >= LOGS and not wrong:
        kept = {"seed": seed, "formats": {name: asdict(tally) for name, tally in tallies.items()}}
        (RESULTS / "cuts.json").write_text(json.dumps(kept, indent=1) + "\n")
        (RESULTS / "cuts.md").write_text(markdown(tallies))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(*map(int, [*sys.argv[1:], *map(str, (LOGS, SEED)[len(sys.argv) - 1 :])])))
