"""The results as pictures. matplotlib comes with the extra ``bench``; without it there are tables only."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.goals import GOALS
from bench.measure import Row
from bench.summary import Summary, summarise

COLOURS = {"ours": "#1f6feb", "naive": "#bc4c00", "floor": "#57606a"}
OTHERS = ("#8250df", "#1a7f37", "#9a6700", "#cf222e")
LATENCIES = {"w1_20k.p50_ms": "W1 20k tokens/s", "w1_60k.p50_ms": "W1 60k tokens/s", "w2.node_us": "W2 1000 viewers"}
"""Rows whose raw figures hold a histogram of latencies."""


class NoPlots(Exception):
    """matplotlib is not installed."""


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """``goals.svg`` and ``latency.svg``, as far as there is something to show. Raises :class:`NoPlots`."""
    try:
        matplotlib: Any = importlib.import_module("matplotlib")
        matplotlib.use("Agg")
        pyplot: Any = importlib.import_module("matplotlib.pyplot")
    except ImportError as error:
        raise NoPlots("pip install 'rejoinder[bench]' for plots") from error
    # Text stays text, ids come from a fixed salt and no date is written: a new run changes only what it measured.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "rejoinder", "font.size": 9})
    made = [_goals(pyplot, summarise(rows), folder / "goals.svg"), _latency(pyplot, rows, folder / "latency.svg")]
    return [path for path in made if path is not None]


def shares_of_goal(summaries: Mapping[tuple[str, str], Summary]) -> dict[str, dict[str, float]]:
    """Metric -> system -> how many times the goal it takes (1 = the goal; less is better). Pure."""
    shares: dict[str, dict[str, float]] = {}
    for (metric, system), found in summaries.items():
        goal = GOALS.get(metric)
        if goal is not None and goal.bound and found.median:
            share = goal.bound / found.median if goal.at_least else found.median / goal.bound
            shares.setdefault(metric, {})[system] = share
    return shares


def cumulative(buckets: Sequence[Sequence[float]]) -> tuple[list[float], list[float]]:
    """Of a histogram of (ns, count): milliseconds, and the share of events that took longer. Pure."""
    total = sum(count for _, count in buckets)
    seen = 0.0
    times: list[float] = []
    above: list[float] = []
    for ns, count in buckets:
        times.append(ns / 1e6)
        above.append((total - seen) / total)
        seen += count
    return times, above


def _colour(system: str, systems: Sequence[str]) -> str:
    return COLOURS.get(system) or OTHERS[systems.index(system) % len(OTHERS)]


def _save(pyplot: Any, figure: Any, path: Path) -> Path:
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    # The writer ends some lines in blanks, which the house's editors would strip.
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")
    return path


def _goals(pyplot: Any, summaries: Mapping[tuple[str, str], Summary], path: Path) -> Path | None:
    shares = shares_of_goal(summaries)
    if not shares:
        return None
    systems = list(dict.fromkeys(system for by_system in shares.values() for system in by_system))
    figure, axis = pyplot.subplots(figsize=(10.5, 0.8 + 0.32 * len(shares)), layout="constrained")
    for system in systems:
        points = [(by[system], at) for at, by in enumerate(shares.values()) if system in by]
        xs, ys = zip(*points, strict=True)
        axis.scatter(xs, ys, label=system, color=_colour(system, systems), s=28, zorder=3)
    axis.axvline(1.0, color="#1a7f37", linewidth=1)
    axis.set_xscale("log")
    axis.set_yticks(range(len(shares)), [GOALS[metric].title for metric in shares])
    axis.invert_yaxis()
    axis.grid(axis="x", which="both", alpha=0.25)
    axis.set_xlabel("times the goal: left of the line is met")
    axis.legend(loc="lower right")
    return _save(pyplot, figure, path)


def _latency(pyplot: Any, rows: Sequence[Row], path: Path) -> Path | None:
    timed = [row for row in rows if row.metric in LATENCIES and row.raw.get("load")]
    titles = [metric for metric in LATENCIES if any(row.metric == metric for row in timed)]
    if not titles:
        return None
    systems = list(dict.fromkeys(row.system for row in timed))
    figure, grid = pyplot.subplots(1, len(titles), figsize=(10.5, 3.6), layout="constrained", squeeze=False)
    for axis, metric in zip(grid[0], titles, strict=True):
        for system in systems:
            # One thin line per round: the spread is part of the result.
            mine = [row for row in timed if row.metric == metric and row.system == system]
            for number, row in enumerate(mine):
                times, above = cumulative(row.raw["load"]["latency"]["buckets"])
                label = None if number else system
                axis.plot(times, above, color=_colour(system, systems), linewidth=0.9, label=label)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_ylim(1e-4, 1)
        axis.grid(alpha=0.25)
        axis.set_title(LATENCIES[metric])
        axis.set_xlabel("latency, ms")
        axis.set_ylabel("share of events above")
    named = dict(zip(*reversed(grid[0][0].get_legend_handles_labels()), strict=True))
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=len(named))
    return _save(pyplot, figure, path)
