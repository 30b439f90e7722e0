"""Unit costs out of measured curves: straight lines through points."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from bench.capacity import FULL, Load, Units, node_cores, redis_cores

Row: TypeAlias = Mapping[str, Any]
"""One point of ``bench/results/curves.json``."""
CURVES = Path(__file__).parent / "results" / "curves.json"
SATURATED = 0.9
"""A process that uses more of its core than this does not show what an event costs, only that the core is full."""


LONG = 1000
"""Tokens from which on a log's first block is full, so that its size is a straight line."""


class NotMeasured(Exception):
    """The curves lack a point that a unit cost is read from."""


def line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Least squares: (y at x = 0, y per x).

    Every point counts by its relative error, so that a curve over decades is not ruled by its last point alone.
    Raises :class:`NotMeasured` for fewer than two different x.
    """
    weighted = [(x, y, 1 / max(abs(y), 1e-12) ** 2) for x, y in points]
    total = sum(w for _, _, w in weighted)
    if not total:
        raise NotMeasured("no points")
    mean_x = sum(x * w for x, _, w in weighted) / total
    mean_y = sum(y * w for _, y, w in weighted) / total
    spread = sum(w * (x - mean_x) ** 2 for x, _, w in weighted)
    if spread <= 0:
        raise NotMeasured("all points have the same x")
    slope = sum(w * (x - mean_x) * (y - mean_y) for x, y, w in weighted) / spread
    return mean_y - slope * mean_x, slope


def slope(rows: Iterable[Row], x: str, y: str) -> float:
    """How much of ``y`` one more ``x`` costs; never negative."""
    return max(line([(float(row[x]), float(row[y])) for row in rows])[1], 0.0)


def cpu(rows: Iterable[Row], x: str, part: str) -> tuple[float, float]:
    """Cores for being busy at all, and µs for one more ``x``, over the points at which that core was not full."""
    base, per = line([(float(row[x]), float(row[part])) for row in rows if row[part] < SATURATED])
    return min(max(base, 0.0), FULL / 2), max(per, 0.0) * 1e6


def units(document: Mapping[str, Any]) -> Units:
    """Unit costs from what ``make bench-curves`` wrote. Raises :class:`NotMeasured`."""
    ours = [row for row in document["points"] if row["system"] == "rejoinder" and counts(row)]

    def curve(name: str) -> list[Row]:
        found = [row for row in ours if row["curve"] == name]
        if len(found) < 2:
            raise NotMeasured(f"the curve {name!r} has {len(found)} points that count")
        return found

    tokens, viewers, streams, workers = map(curve, ("tokens", "viewers", "streams", "workers"))
    log, nodes = curve("log"), curve("nodes")
    stored = line([(float(row["x"]), float(row["log_bytes"])) for row in log if row["x"] >= LONG])
    # What an answer takes beside its log: record, request, indexes. The smallest log is hardly more than an empty one.
    beside = _least(streams[1:], "redis_bytes_per_open_stream") - _least(log, "log_bytes")
    _, delivery = cpu(viewers, "deliveries_per_s", "node_cores")
    node_busy, whole = cpu(tokens, "deliveries_per_s", "node_cores")
    worker_busy, appended = cpu(workers, "events_per_s", "worker_cores")
    redis_busy, redis = cpu(tokens, "events_per_s", "redis_cores")
    return Units(
        node_busy_cores=node_busy,
        worker_busy_cores=worker_busy,
        redis_busy_cores=redis_busy,
        node_us_per_event=max(whole - delivery, 0.0),
        node_us_per_delivery=delivery,
        worker_us_per_event=appended,
        redis_us_per_event=redis,
        redis_us_per_extra_node=_extra_node(nodes),
        node_bytes=_least(viewers, "node_bytes"),
        node_bytes_per_viewer=slope(viewers, "connections", "node_bytes"),
        worker_bytes=_least(workers, "worker_bytes"),
        worker_bytes_per_generation=slope(workers, "streams", "worker_bytes"),
        redis_bytes_per_stream=max(stored[0], 0.0) + max(beside, 0.0),
        redis_bytes_per_event=stored[1],
        wire_bytes_per_event=max(float(row["wire_bytes_per_event"]) for row in tokens),
        node_redis_connections=max(float(row["node_redis_connections"]) for row in tokens),
        worker_redis_connections=max(float(row["worker_redis_connections"]) for row in workers),
    )


def counts(row: Row) -> bool:
    """Nothing was lost, and viewers got what was said as it was said."""
    return not row["void"] and not row.get("behind", False)


def _least(rows: Iterable[Row], y: str) -> float:
    return min(float(row[y]) for row in rows)


def _extra_node(rows: Sequence[Row]) -> float:
    """Redis's µs for each further node that hears of an event, from the curve over nodes."""
    points = [(float(row["heard_on"]), row["redis_cores"] / row["events_per_s"] * 1e6) for row in rows]
    return max(line(points)[1], 0.0)


PARTS: dict[str, Callable[[Load, Units], float]] = {
    "node_cores": lambda load, costs: node_cores(load, costs, 1),
    "redis_cores": lambda load, costs: redis_cores(load, costs, 1),
    "node_bytes": lambda load, costs: costs.node_bytes + load.connections * costs.node_bytes_per_viewer,
}
"""What a prediction is checked on."""


def predictions(document: Mapping[str, Any]) -> list[tuple[Row, str, float, float]]:
    """(point, part, predicted, measured) for the points that nothing was fitted to."""
    costs = units(document)
    return [
        (row, part, predict(load_of(row), costs), float(row[part]))
        for row in document["points"]
        if row["curve"] == "check" and counts(row)
        for part, predict in PARTS.items()
    ]


def load_of(row: Row) -> Load:
    """The load that a point was run with, as it came out."""
    return Load(
        generations=row["streams"],
        viewers=row["viewers"],
        tokens_per_s=row["events_per_s"] / row["streams"],
    )


def measured(path: Path = CURVES) -> Units:
    """The unit costs of the last run of the curves. Raises ``FileNotFoundError``, :class:`NotMeasured`."""
    return units(json.loads(path.read_text()))
