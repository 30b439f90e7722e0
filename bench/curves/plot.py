"""The curves as pictures. matplotlib comes with the extra ``bench``; without it there are tables only."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.curves.report import TITLES
from bench.units import counts

_PANELS: dict[str, tuple[tuple[str, str], ...]] = {
    "viewers": (("p99_ms", "p99, ms"), ("node_cores", "node, cores"), ("node_bytes", "node, MB")),
    "streams": (("p99_ms", "p99, ms"), ("node_cores", "node, cores"), ("node_bytes", "node, MB")),
    "tokens": (("p99_ms", "p99, ms"), ("node_cores", "node, cores"), ("redis_cores", "Redis, cores")),
    "log": (("cold_ms", "cold, ms"), ("warm_ms", "warm, ms"), ("log_bytes", "log, MB")),
    "workers": (("worker_cores", "worker, cores"), ("worker_bytes", "worker, MB"), ("redis_cores", "Redis, cores")),
    "nodes": (("p99_ms", "p99, ms"), ("node_cores", "all nodes, cores"), ("redis_cores", "Redis, cores")),
}
_LOGARITHMIC = frozenset({"p99_ms", "cold_ms", "warm_ms"})
_COLOURS = {"rejoinder": "#1f6feb", "naive": "#bc4c00"}


class NoPlots(Exception):
    """matplotlib is not installed."""


def draw(document: Mapping[str, Any], folder: Path) -> list[Path]:
    """One SVG a curve that has points. Raises :class:`NoPlots`."""
    try:
        matplotlib: Any = importlib.import_module("matplotlib")
        matplotlib.use("Agg")
        pyplot: Any = importlib.import_module("matplotlib.pyplot")
    except ImportError as error:
        raise NoPlots("pip install 'rejoinder[bench]' for plots") from error
    # Text stays text, ids come from a fixed salt and no date is written: a new run changes only what it measured.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "rejoinder", "font.size": 9})
    folder.mkdir(parents=True, exist_ok=True)
    return [_curve(pyplot, document, name, folder) for name in _PANELS if _rows(document, name)]


def _rows(document: Mapping[str, Any], curve: str, system: str | None = None) -> list[Mapping[str, Any]]:
    return [
        row for row in document["points"] if row["curve"] == curve and counts(row) and system in (None, row["system"])
    ]


def _curve(pyplot: Any, document: Mapping[str, Any], name: str, folder: Path) -> Path:
    figure, axes = pyplot.subplots(1, 3, figsize=(10.5, 2.9), layout="constrained")
    for axis, (key, label) in zip(axes, _PANELS[name], strict=True):
        for system, colour in _COLOURS.items():
            _line(axis, _rows(document, name, system), key, system, colour)
        axis.set_xscale("linear" if name == "nodes" else "log")
        axis.set_yscale("log" if key in _LOGARITHMIC else "linear")
        if key not in _LOGARITHMIC:
            axis.set_ylim(bottom=0)
        axis.set_xlabel(TITLES[name][0].lower())
        axis.set_title(label)
        axis.grid(visible=True, alpha=0.3)
    axes[0].legend()
    path = folder / f"{name}.svg"
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path


def _line(axis: Any, rows: Sequence[Mapping[str, Any]], key: str, system: str, colour: str) -> None:
    shown = [(row["x"], _scaled(key, row[key])) for row in rows if row[key] is not None]
    if shown:
        axis.plot([x for x, _ in shown], [y for _, y in shown], marker="o", markersize=4, label=system, color=colour)


def _scaled(key: str, value: float) -> float:
    return value / 1e6 if key.endswith("_bytes") else value
