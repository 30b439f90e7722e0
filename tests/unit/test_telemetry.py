"""The metrics as Prometheus reads them: parsed back by its own parser."""

from __future__ import annotations

import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from broker.stats import FleetStats
from broker.telemetry import NodeMetrics, render

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
TTFT = "rejoinder_time_to_first_token_seconds"


def samples(body: bytes) -> Samples:
    """Every sample by name and labels."""
    families = text_string_to_metric_families(body.decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def value(found: Samples, name: str, **labels: str) -> float:
    """One sample."""
    return found[name, tuple(sorted(labels.items()))]


def test_the_fleet_is_told_as_it_was_counted() -> None:
    """Totals, gauges, and a histogram whose buckets are cumulative and end in infinity."""
    buckets = [(0.1, 2), (1.0, 5), (math.inf, 6)]
    fleet = FleetStats({"completed": 4, "failed": 1}, 99, 3, buckets, 7.5, 6, active=8, queued=9)
    found = samples(render(NodeMetrics(), fleet))
    totals = {status: value(found, "rejoinder_generations_total", status=status) for status in ("completed", "failed")}
    assert totals == {"completed": 4, "failed": 1}
    assert value(found, "rejoinder_generations_total", status="cancelled") == 0
    assert value(found, "rejoinder_output_tokens_total") == 99
    assert value(found, "rejoinder_unconfirmed_ends_total") == 3
    assert (value(found, "rejoinder_active_generations"), value(found, "rejoinder_queued_jobs")) == (8, 9)
    assert [value(found, f"{TTFT}_bucket", le=le) for le in ("0.1", "1.0", "+Inf")] == [2, 5, 6]
    assert (value(found, f"{TTFT}_count"), value(found, f"{TTFT}_sum")) == (6, 7.5)


@pytest.mark.parametrize("buckets", [[], [(0.1, 2)]])
def test_a_histogram_always_has_its_last_bucket(buckets: list[tuple[float, int]]) -> None:
    """Prometheus refuses one without; it holds them all."""
    found = samples(render(NodeMetrics(), FleetStats(ttft_buckets=buckets, ttft_count=3, ttft_sum=1.0)))
    assert value(found, f"{TTFT}_bucket", le="+Inf") == 3


def test_a_node_tells_its_own_while_redis_is_away() -> None:
    """And nothing of the fleet: no sample is better than a zero that would look like a reset."""
    node = NodeMetrics()
    node.viewers, node.sockets, node.events, node.submits = 2, 3, 30, 4
    node.broken["drain"] += 1
    node.broken["stalled"] += 5
    found = samples(render(node, None))
    assert found == {
        ("rejoinder_stream_viewers", ()): 2,
        ("rejoinder_websocket_connections", ()): 3,
        ("rejoinder_stream_events_total", ()): 30,
        ("rejoinder_submits_total", ()): 4,
        ("rejoinder_streams_broken_total", (("reason", "drain"),)): 1,
        ("rejoinder_streams_broken_total", (("reason", "stalled"),)): 5,
    }
