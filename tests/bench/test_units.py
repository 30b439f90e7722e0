"""Unit costs are read out of points as they were put in."""

from __future__ import annotations

from dataclasses import replace
from math import isclose
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.capacity import Load, Units, node_cores, redis_cores, spread, worker_cores
from bench.curves.points import Point, points
from bench.curves.report import TITLES, markdown
from bench.units import SATURATED, NotMeasured, line, predictions, units
from tests.bench.test_capacity import UNITS


def _row(point: Point, costs: Units) -> dict[str, Any]:
    """What a point would measure on a machine that costs exactly this."""
    load = Load(generations=point.streams, viewers=point.viewers, tokens_per_s=point.rate)
    heard_on = spread(point.nodes, point.viewers)
    return {
        "curve": point.curve,
        "x": point.x,
        "system": point.system,
        "void": "",
        "streams": point.streams,
        "viewers": point.viewers,
        "rate": point.rate,
        "connections": load.connections,
        "events_per_s": load.events_per_s,
        "deliveries_per_s": load.deliveries_per_s,
        "behind": False,
        "redis_bytes_per_open_stream": 2000.0 + costs.redis_bytes_per_stream + 10 * costs.redis_bytes_per_event,
        "heard_on": heard_on,
        "p50_ms": 0.2,
        "p99_ms": 0.6,
        "node_cores": node_cores(load, costs, point.nodes),
        "worker_cores": worker_cores(load, costs, 1),
        "redis_cores": redis_cores(load, costs, point.nodes),
        "node_bytes": costs.node_bytes + load.connections * costs.node_bytes_per_viewer,
        "worker_bytes": costs.worker_bytes + point.streams * costs.worker_bytes_per_generation,
        "wire_bytes_per_event": costs.wire_bytes_per_event,
        "node_redis_connections": costs.node_redis_connections,
        "worker_redis_connections": costs.worker_redis_connections,
        "cold_ms": 9.0,
        "warm_ms": 0.6,
        "log_bytes": costs.redis_bytes_per_stream + point.length * costs.redis_bytes_per_event,
    }


def _document(costs: Units = UNITS) -> dict[str, Any]:
    return {"points": [_row(point, costs) for point in points()]}


def test_the_costs_come_back_out() -> None:
    """From curves that follow them exactly."""
    found = units(_document())
    for name in (
        "node_busy_cores",
        "worker_busy_cores",
        "redis_busy_cores",
        "node_us_per_delivery",
        "worker_us_per_event",
        "redis_us_per_event",
        "redis_us_per_extra_node",
        "node_bytes_per_viewer",
        "worker_bytes_per_generation",
        "redis_bytes_per_event",
        "wire_bytes_per_event",
    ):
        assert isclose(getattr(found, name), getattr(UNITS, name), rel_tol=1e-3), name
    # The log's own, and the 2,000 bytes beside it.
    assert isclose(found.redis_bytes_per_stream, UNITS.redis_bytes_per_stream + 2000, rel_tol=1e-3)
    assert isclose(found.node_us_per_event, UNITS.node_us_per_event, rel_tol=0.02)


def test_points_of_a_full_core_and_void_points_count_for_nothing() -> None:
    """A core that is full says only that it is full."""
    costs = replace(UNITS, node_us_per_delivery=12.0)
    document = _document(costs)
    full = [row for row in document["points"] if row["node_cores"] > SATURATED]
    assert full
    for row in full:
        row["node_cores"] = 0.99
    lost = dict(document["points"][0], x=5, void="2 events lost", node_cores=9.0)
    late = dict(document["points"][0], x=7, behind=True, node_cores=0.1, deliveries_per_s=90_000.0)
    document["points"] += [lost, late]
    assert isclose(units(document).node_us_per_delivery, costs.node_us_per_delivery, rel_tol=1e-3)
    assert "void: 2 events lost" in markdown(document)
    assert "90,000 (behind)" in markdown(document)


def test_predictions_are_of_points_that_nothing_was_fitted_to() -> None:
    """Changing a held-out point changes what was measured there, and no prediction."""
    document = _document()
    before = predictions(document)
    assert {row["curve"] for row, *_ in before} == {"check"}
    for row in document["points"]:
        if row["curve"] == "check":
            row["node_cores"] *= 3
    after = predictions(document)
    assert [predicted for *_, predicted, _ in after] == [predicted for *_, predicted, _ in before]
    assert [measured for *_, measured in after] != [measured for *_, measured in before]


def test_without_enough_points_there_are_no_costs() -> None:
    """Rather than invented ones."""
    document = _document()
    document["points"] = [row for row in document["points"] if row["curve"] != "nodes"]
    with pytest.raises(NotMeasured, match="nodes"):
        units(document)
    with pytest.raises(NotMeasured):
        line([(1.0, 2.0), (1.0, 3.0)])


@given(st.floats(-100, 100), st.floats(-100, 100), st.lists(st.integers(0, 10_000), min_size=2, unique=True))
def test_a_straight_line_is_found(base: float, per: float, xs: list[int]) -> None:
    """Whatever its slope and wherever its points."""
    values = [(float(x), base + per * x) for x in xs]
    if any(abs(y) < 1e-3 for _, y in values):
        return
    found = line(values)[1]
    assert isclose(found, per, rel_tol=1e-3, abs_tol=1e-3 * max(abs(y) for _, y in values))


def test_every_curve_has_a_title_and_every_point_a_curve() -> None:
    """A point without a table would be measured for nobody."""
    assert {point.curve for point in points()} == set(TITLES)
    assert len({(point.curve, point.x, point.system) for point in points()}) == len(points())
