"""The table, the JSON and the plots of a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.goals import GOALS, Goal
from bench.measure import Row
from bench.plots import NoPlots, draw
from bench.summary import Summary, summarise

SUBJECT = "ours"
BASE = "naive"


def table(rows: Sequence[Row]) -> str:
    """Markdown: one line per metric; medians of rounds with their spread."""
    summaries = summarise(rows)
    systems = list(dict.fromkeys(system for _, system in summaries))
    peers = [name for name in systems if name not in {SUBJECT, BASE}]
    columns = [name for name in (BASE, SUBJECT) if name in systems] + peers
    lines = [
        f"| metric | goal | {' | '.join(columns)} | ours against naive | |",
        f"|---|---|{'---|' * len(columns)}---|---|",
    ]
    for metric in dict.fromkeys(metric for metric, _ in summaries):
        goal = GOALS.get(metric, Goal(metric, ""))
        cells = [cell(summaries.get((metric, name))) for name in columns]
        subject, base = summaries.get((metric, SUBJECT)), summaries.get((metric, BASE))
        title = f"{goal.title}, {goal.unit}" if goal.unit else goal.title
        said = (title, goal.text(), *cells, gain(goal, base, subject), verdict(goal, subject))
        lines.append(f"| {' | '.join(said)} |")
    return "\n".join(lines)


def cell(summary: Summary | None) -> str:
    """A median with its spread, or why there is none."""
    if summary is None:
        return ""
    if summary.median is None:
        return summary.note or "-"
    mark = " *" if summary.note else ""
    if summary.low == summary.high or summary.median > summary.high:
        return f"{figure(summary.median)}{mark}"
    return f"{figure(summary.median)} ({figure(summary.low)} … {figure(summary.high)}){mark}"


def figure(value: float) -> str:
    """Three significant digits, or all of a whole number's."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def gain(goal: Goal, base: Summary | None, subject: Summary | None) -> str:
    """How many times better ours is than the naive one; below 1 it is worse."""
    if base is None or subject is None or not base.median or not subject.median:
        return ""
    times = subject.median / base.median if goal.at_least else base.median / subject.median
    return f"{times:.3g}x"


def verdict(goal: Goal, subject: Summary | None) -> str:
    """Met or missed, by the median."""
    if subject is None or subject.median is None:
        return ""
    met = goal.met(subject.median)
    return "" if met is None else "met" if met else "**missed**"


def notes(rows: Sequence[Row]) -> list[str]:
    """What stands behind the asterisks: one line per scenario and system."""
    said = {f"{row.metric.partition('.')[0]}, {row.system}: {row.note}": None for row in rows if row.note}
    return [f"\\* {note}" for note in said]


def markdown(rows: Sequence[Row], machine: dict[str, Any]) -> str:
    """The whole report as text."""
    libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    about = (
        f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}, "
        f"{machine['redis']}, Python {machine['python']}; {libraries}."
    )
    how = "Medians of rounds in which the systems took turns, with the least and the greatest round in brackets."
    left_out = [f"{name} is left out: {why}." for name, why in machine.get("left_out", {}).items()]
    return "\n\n".join([table(rows), "  \n".join([how, *notes(rows), *left_out]), about]) + "\n"


def write(rows: Sequence[Row], machine: dict[str, Any], folder: Path | None) -> str:
    """The Markdown; with a folder, it is written there with the JSON of all rounds and, where matplotlib is, plots."""
    text = markdown(rows, machine)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "core.md").write_text(text)
        (folder / "core.json").write_text(json.dumps(as_json(rows, machine), separators=(",", ":")) + "\n")
        try:
            draw(rows, folder)
        except NoPlots as error:
            text += f"\nNo plots: {error}.\n"
    return text


def as_json(rows: Sequence[Row], machine: dict[str, Any]) -> dict[str, Any]:
    """Everything, rounds included."""
    summaries = [
        {"metric": metric, "system": system, **summary.as_json()}
        for (metric, system), summary in summarise(rows).items()
    ]
    rounds = [
        {"metric": row.metric, "system": row.system, "value": row.value, "note": row.note, "raw": row.raw}
        for row in rows
    ]
    return {"machine": machine, "summary": summaries, "rounds": rounds}


def merged(rows: Sequence[Row], document: dict[str, Any]) -> tuple[list[Row], dict[str, Any]]:
    """An earlier run's rows with these instead of those of the same metrics, and what it said of its machine."""
    anew = {row.metric for row in rows}
    old = [Row(**row) for row in document["rounds"]]
    return [*(row for row in old if row.metric not in anew), *rows], document["machine"]
