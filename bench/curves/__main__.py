"""``python -m bench.curves [CURVE …] [--quick]``: measure how cost grows; tables, plots and JSON in bench/results/.

Only the curves that are named are measured anew, the others keep the points they have.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.curves import fleet
from bench.curves.plot import NoPlots, draw
from bench.curves.points import Point, points
from bench.curves.report import TITLES, markdown
from bench.curves.rig import live, whole_log
from bench.curves.workers import NotKept, appending
from bench.load_generator import Unsound
from bench.machine import describe, settle
from bench.naive.system import naive
from bench.quote import predicted
from bench.systems import System
from bench.units import CURVES, NotMeasured

LIMIT_S = 60.0
"""A point that takes longer has hung."""


@asynccontextmanager
async def systems(point: Point) -> AsyncGenerator[Sequence[System]]:
    """What a point is measured on."""
    if point.system == "naive":
        async with naive() as system:
            yield [system]
    else:
        async with fleet.nodes(point.nodes) as nodes:
            yield nodes


async def measure(point: Point) -> dict[str, Any]:
    """One point. Raises :class:`Unsound` or :class:`NotKept` when it does not count."""
    if point.curve == "workers":
        return await appending(point)
    async with systems(point) as found:
        return await (whole_log(found[0], point) if point.curve == "log" else live(found, point))


async def row(point: Point) -> dict[str, Any]:
    """One point with its parameters; void, with the reason, when it does not count."""
    given = asdict(point)
    try:
        async with asyncio.timeout(LIMIT_S):
            return {**given, **await measure(point), "void": ""}
    except Unsound as error:
        return {**given, "void": f"{error.faults} faults" if error.faults else "did not keep up"}
    except NotKept as error:
        return {**given, "void": str(error)}
    except TimeoutError:
        return {**given, "void": f"not done within {LIMIT_S:g} s"}
    except Exception as error:  # noqa: BLE001 - one point that breaks must not cost the others
        return {**given, "void": f"{type(error).__name__}: {error}"}


async def run(wanted: Sequence[str], *, quick: bool) -> dict[str, Any]:
    """All points of these curves, beside what is kept of the others."""
    kept: list[Mapping[str, Any]] = []
    if CURVES.exists() and not quick:
        kept = [old for old in json.loads(CURVES.read_text())["points"] if old["curve"] not in wanted]
    measured: list[Mapping[str, Any]] = []
    for point in points(quick):
        if point.curve in wanted:
            print(point.name, end=" ", flush=True)
            measured.append(await row(point))
            print(measured[-1]["void"] or "ok", flush=True)
    order = list(TITLES)
    found = sorted([*kept, *measured], key=lambda one: order.index(one["curve"]))
    return {"machine": describe(), "points": found}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write everything; a quick run writes into build/ only."""
    parser = argparse.ArgumentParser(prog="python -m bench.curves", description="How cost grows.")
    parser.add_argument("curves", nargs="*", choices=[[], *TITLES], default=[], help="only these")
    parser.add_argument("--quick", action="store_true", help="every second point of ours; results are not kept")
    given = parser.parse_args(arguments)
    settle()
    document = asyncio.run(run(given.curves or list(TITLES), quick=given.quick))
    folder = Path("build/curves") if given.quick else CURVES.parent
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "curves.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / "curves.md").write_text(markdown(document))
    try:
        draw(document, folder / "curves")
    except NoPlots as error:
        print(error)
    print(markdown(document))
    with contextlib.suppress(NotMeasured):
        print(f"### The capacity model on the mixed loads\n\n{predicted(document)}")


if __name__ == "__main__":
    main()
