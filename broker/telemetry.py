"""Every metric, in one place, as Prometheus reads it.

What the whole fleet did is kept in Redis and is the same at every node: aggregate it with ``max``. What one node does
is counted in plain integers, because a stream's hot path should pay for an addition and no more: aggregate with
``sum``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Fleet(Protocol):
    """Sums over the whole fleet (``broker.stats.FleetStats``); bucket counts are cumulative, seconds."""

    @property
    def generations(self) -> Mapping[str, int]:
        """Ended generations by status."""
        ...

    @property
    def output_tokens(self) -> int:
        """Tokens that providers reported as output."""
        ...

    @property
    def unconfirmed(self) -> int:
        """Ends that did not arrive on replicas or disk in time."""
        ...

    @property
    def ttft_buckets(self) -> Sequence[tuple[float, int]]:
        """Upper bound and how many first tokens came within it."""
        ...

    @property
    def ttft_sum(self) -> float:
        """Seconds from submit to the first token, summed."""
        ...

    @property
    def ttft_count(self) -> int:
        """First tokens seen."""
        ...

    @property
    def active(self) -> int:
        """Generations that have not ended."""
        ...

    @property
    def queued(self) -> int:
        """Jobs in the queue."""
        ...


class NodeMetrics:
    """What this API node counts; plain attributes, written by the streams."""

    def __init__(self) -> None:
        self.viewers = 0
        """Streams open now."""
        self.sockets = 0
        """WebSockets open now."""
        self.events = 0
        """Events written to streams."""
        self.broken: Counter[str] = Counter()
        """Streams broken off, by reason."""
        self.submits = 0
        """Generations accepted here, replays not counted."""


class _Families(Collector):
    def __init__(self, node: NodeMetrics, fleet: Fleet | None) -> None:
        self._node = node
        self._fleet = fleet

    def collect(self) -> Iterator[Metric]:
        """All families, the fleet's only while Redis can be asked."""
        if self._fleet is not None:
            yield from _fleet_families(self._fleet)
        yield from _node_families(self._node)


def render(node: NodeMetrics, fleet: Fleet | None) -> bytes:
    """The body of ``GET /metrics``; without ``fleet`` (Redis is away) the node's own metrics only."""
    return generate_latest(_Families(node, fleet))


def _fleet_families(fleet: Fleet) -> Iterator[Metric]:
    ended = CounterMetricFamily("rejoinder_generations", "Ended generations of the fleet", labels=["status"])
    for status in ("completed", "failed", "cancelled"):
        ended.add_metric([status], fleet.generations.get(status, 0))
    yield ended
    yield CounterMetricFamily("rejoinder_output_tokens", "Output tokens of the fleet", value=fleet.output_tokens)
    yield CounterMetricFamily(
        "rejoinder_unconfirmed_ends", "Ends that were not confirmed within REJOINDER_WAIT_S", value=fleet.unconfirmed
    )
    yield GaugeMetricFamily("rejoinder_active_generations", "Generations that have not ended", value=fleet.active)
    yield GaugeMetricFamily("rejoinder_queued_jobs", "Jobs in the queue, waiting or running", value=fleet.queued)
    ttft = HistogramMetricFamily("rejoinder_time_to_first_token_seconds", "Submit to first token, of the fleet")
    buckets = [("+Inf" if math.isinf(top) else str(top), float(count)) for top, count in fleet.ttft_buckets]
    if not buckets or buckets[-1][0] != "+Inf":
        buckets.append(("+Inf", float(fleet.ttft_count)))
    ttft.add_metric([], buckets, fleet.ttft_sum)
    yield ttft


def _node_families(node: NodeMetrics) -> Iterator[Metric]:
    yield GaugeMetricFamily("rejoinder_stream_viewers", "Streams open at this node", value=node.viewers)
    yield GaugeMetricFamily("rejoinder_websocket_connections", "WebSockets open at this node", value=node.sockets)
    yield CounterMetricFamily("rejoinder_stream_events", "Events written to streams by this node", value=node.events)
    yield CounterMetricFamily("rejoinder_submits", "Generations accepted by this node", value=node.submits)
    broken = CounterMetricFamily("rejoinder_streams_broken", "Streams this node broke off", labels=["reason"])
    for reason, count in sorted(node.broken.items()):
        broken.add_metric([reason], count)
    yield broken
