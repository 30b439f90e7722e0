"""The curves as Markdown: one table a curve. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

Row: TypeAlias = Mapping[str, Any]
"""One point as ``curves.json`` has it."""

TITLES = {
    "viewers": ("Viewers of one stream", "1 stream × n viewers × 10 tokens/s, one node process"),
    "streams": ("Streams", "n streams × 1 viewer × 4 tokens/s, one node process"),
    "tokens": ("Tokens per second", "500 streams × 1 viewer, n tokens/s over all of them, one node process"),
    "log": ("Length of a log", "one reader reads a whole log of n tokens from its start; warm = once more"),
    "nodes": ("Node processes", "500 streams × 2 viewers × 10 tokens/s, viewers spread over n processes on one core"),
    "workers": ("Answers on one worker", "n answers of the built-in provider × 20 tokens/s, every token an entry"),
    "check": ("Mixed loads", "held back from every fit, for the capacity model to predict"),
}

_LIVE: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("delivered/s", lambda row: f"{row['deliveries_per_s']:,.0f}{' (behind)' if row['behind'] else ''}"),
    ("p50 ms", lambda row: f"{row['p50_ms']:.2f}"),
    ("p99 ms", lambda row: f"{row['p99_ms']:.2f}"),
    ("node, cores", lambda row: f"{row['node_cores']:.3f}"),
    ("node µs per event", lambda row: f"{row['node_cores'] / max(row['deliveries_per_s'], 1e-9) * 1e6:.1f}"),
    ("node MB", lambda row: f"{row['node_bytes'] / 1e6:.0f}"),
    ("Redis, cores", lambda row: f"{row['redis_cores']:.3f}"),
)
_LOG: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("cold ms", lambda row: f"{row['cold_ms']:.2f}"),
    ("warm ms", lambda row: f"{row['warm_ms']:.2f}"),
    ("log bytes", lambda row: f"{row['log_bytes']:,.0f}"),
    ("bytes per token", lambda row: f"{row['log_bytes'] / row['x']:.1f}"),
)
_WORKERS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("appended/s", lambda row: f"{row['events_per_s']:,.0f}"),
    ("worker, cores", lambda row: f"{row['worker_cores']:.3f}"),
    ("worker µs per token", lambda row: f"{row['worker_cores'] / row['events_per_s'] * 1e6:.1f}"),
    ("worker MB", lambda row: f"{row['worker_bytes'] / 1e6:.0f}"),
    ("Redis, cores", lambda row: f"{row['redis_cores']:.3f}"),
)
_COLUMNS = {"log": _LOG, "workers": _WORKERS}


def markdown(document: Mapping[str, Any]) -> str:
    """All curves that have points."""
    measured = {row["curve"] for row in document["points"]}
    shown = [name for name in TITLES if name in measured]
    return "\n".join(f"### {TITLES[name][0]}\n\n{TITLES[name][1]}\n\n{table(document, name)}" for name in shown)


def table(document: Mapping[str, Any], curve: str) -> str:
    """One curve. A point that is void says why; at one that is *behind*, viewers got less than was said."""
    rows = [row for row in document["points"] if row["curve"] == curve]
    columns = _COLUMNS.get(curve, _LIVE)
    lines = [_line(["system", "n" if curve != "check" else "load", *(title for title, _ in columns)])]
    lines.append(_line(["---"] * (len(columns) + 2)))
    for row in rows:
        cells = _void(row, len(columns)) if row["void"] else [cell(row) for _, cell in columns]
        lines.append(_line([row["system"], _place(row), *cells]))
    return "".join(lines)


def _place(row: Row) -> str:
    if row["curve"] == "check":
        return f"{row['streams']:,} × {row['viewers']:,} × {row['rate']:g}/s"
    return f"{row['x']:,.0f}"


def _void(row: Row, width: int) -> list[str]:
    return [f"void: {row['void']}", *[""] * (width - 1)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"
