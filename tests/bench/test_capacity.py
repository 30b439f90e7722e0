"""The capacity model: arithmetic that can be done by hand, and properties that any load must have."""

from __future__ import annotations

from dataclasses import replace
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.capacity import (
    FULL,
    GENERATIONS_PER_WORKER,
    Load,
    Units,
    main,
    node_cores,
    plan,
    redis_cores,
    spread,
    table,
    worker_cores,
)
from bench.units import CURVES
from broker.settings import Settings

UNITS = Units(
    node_busy_cores=0.02,
    worker_busy_cores=0.03,
    redis_busy_cores=0.01,
    node_us_per_event=4.0,
    node_us_per_delivery=6.0,
    worker_us_per_event=5.0,
    redis_us_per_event=10.0,
    redis_us_per_extra_node=2.0,
    node_bytes=80e6,
    node_bytes_per_viewer=12e3,
    worker_bytes=90e6,
    worker_bytes_per_generation=20e3,
    redis_bytes_per_stream=5e3,
    redis_bytes_per_event=22.0,
    wire_bytes_per_event=100.0,
    node_redis_connections=3,
    worker_redis_connections=4,
)
_loads = st.builds(
    Load,
    generations=st.floats(1, 1e6),
    viewers=st.floats(0, 50),
    tokens_per_s=st.floats(0.1, 200),
    tokens_per_event=st.floats(1, 20),
)


def test_a_load_done_by_hand() -> None:
    """1,000 generations × 1 viewer × 20 tokens/s: every figure from the unit costs, on paper."""
    load = Load(generations=1000, viewers=1, tokens_per_s=20, length=500, retention_s=100)
    planned = plan(load, UNITS)
    assert planned.nodes.processes == 1
    assert isclose(planned.nodes.cores, 0.02 + 20_000 * (4 + 6) / 1e6)
    assert isclose(planned.workers.cores, 0.03 + 20_000 * 5 / 1e6)
    assert isclose(planned.redis.cores, 0.01 + 20_000 * 10 / 1e6)
    assert isclose(planned.nodes.bytes, 80e6 + 1000 * 12e3)
    # 1000 × 20 / 500 = 40 answers end every second and stay for 100 s, beside the 1000 in flight.
    assert isclose(load.kept_streams, 5000)
    assert isclose(planned.redis.bytes, 5000 * (5e3 + 500 * 22))
    assert planned.redis.redis_connections == 3 + 4
    assert isclose(planned.network, 20_000 * 100)


def test_joined_tokens_are_fewer_events() -> None:
    """What a window joins is appended, delivered and kept as one."""
    load = Load(generations=100, viewers=2, tokens_per_s=50)
    joined = replace(load, tokens_per_event=5)
    assert isclose(joined.deliveries_per_s, load.deliveries_per_s / 5)
    assert isclose(worker_cores(joined, UNITS, 0), worker_cores(load, UNITS, 0) / 5)


@pytest.mark.parametrize(
    ("nodes", "viewers", "expected"), [(1, 3, 1), (1, 0.5, 0.5), (2, 1, 1), (2, 2, 1.5), (7, 0, 0)]
)
def test_viewers_spread_over_nodes(nodes: int, viewers: float, expected: float) -> None:
    """Two viewers meet on one of two nodes half of the time."""
    assert isclose(spread(nodes, viewers), expected)


def test_the_nearest_limit_comes_first() -> None:
    """Twice what one core of Redis takes is named as such, and two servers are planned."""
    load = Load(generations=2 * FULL * 1e6 / 10 / 50, viewers=1, tokens_per_s=50, retention_s=1)
    planned = plan(load, replace(UNITS, redis_us_per_extra_node=0, redis_busy_cores=0))
    assert planned.ceilings[0].name.startswith("one core")
    assert isclose(planned.ceilings[0].factor, 0.5)
    assert planned.redis.processes == 2
    assert "one core for commands: this load × 0.5" in table(load, planned)


@given(_loads)
def test_no_process_of_a_plan_is_overloaded(load: Load) -> None:
    """Whatever is asked, no node and no worker is planned above its share of a core."""
    planned = plan(load, UNITS)
    assert planned.nodes.cores <= planned.nodes.processes * FULL + 1e-9
    assert planned.workers.cores <= planned.workers.processes * FULL + 1e-9
    assert planned.workers.processes * GENERATIONS_PER_WORKER >= load.generations


@given(_loads, st.floats(1, 10))
def test_more_of_anything_never_costs_less(load: Load, factor: float) -> None:
    """More generations, viewers or tokens take at least as much of everything."""
    for more in (
        replace(load, generations=load.generations * factor),
        replace(load, viewers=load.viewers * factor),
        replace(load, tokens_per_s=load.tokens_per_s * factor),
    ):
        small, large = plan(load, UNITS), plan(more, UNITS)
        for name in ("nodes", "workers", "redis"):
            before, after = getattr(small, name), getattr(large, name)
            assert after.cores >= before.cores - 1e-9, name
            assert after.processes >= before.processes, name


@given(st.integers(1, 500), st.floats(0.01, 20))
def test_more_nodes_never_cost_redis_less(nodes: int, viewers: float) -> None:
    """A stream whose viewers spread over more nodes is published to more of them."""
    load = Load(generations=10, viewers=viewers)
    assert redis_cores(load, UNITS, nodes + 1) >= redis_cores(load, UNITS, nodes) - 1e-9
    assert node_cores(load, UNITS, nodes + 1) >= node_cores(load, UNITS, nodes) - 1e-9


def test_a_worker_is_planned_for_as_many_as_it_takes() -> None:
    """The plan's number is the setting's default."""
    assert Settings.model_fields["max_jobs"].default == GENERATIONS_PER_WORKER


@pytest.mark.skipif(not CURVES.exists(), reason="no curves were measured yet")
def test_the_command_prints_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    """With the costs that were measured last."""
    main(["--generations", "1000", "--viewers", "1.2", "--tokens-per-s", "50"])
    assert "| nodes |" in capsys.readouterr().out
