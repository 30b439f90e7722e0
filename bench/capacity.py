"""What a load will take: CPU, memory, connections. Pure arithmetic over unit costs that were measured.

``python -m bench.capacity --generations 1000 --viewers 1.2 --tokens-per-s 50`` prints the table for one load, with the
unit costs that ``make bench-curves`` left in ``bench/results/curves.json``.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass

FULL = 0.6
"""The share of a core that a process may use in a plan: above it, latency grows faster than load."""
GENERATIONS_PER_WORKER = 1000
CONNECTIONS_PER_NODE = 10_000
"""As many as were measured on one node process; a plan claims no more."""
REDIS_CLIENTS = 10_000
"""The default of Redis's ``maxclients``."""
REDIS_BYTES = 64e9
REDIS_NETWORK = 10e9 / 8
"""Bytes a second that leave a server with a 10 Gbit/s network."""


@dataclass(frozen=True, slots=True)
class Units:
    """What one unit of work costs. CPU in µs, memory in bytes.

    ``…_busy_cores`` is what a process uses for being busy at all: turns of its loop that a busier one shares among more
    events. Every process of a plan pays it once.
    """

    node_busy_cores: float
    worker_busy_cores: float
    redis_busy_cores: float
    node_us_per_event: float
    """A node hears of an event of a stream that somebody watches there: parsed, checked and encoded, once."""
    node_us_per_delivery: float
    """The event is written to one viewer."""
    worker_us_per_event: float
    redis_us_per_event: float
    """Appended, published, and sent to one node."""
    redis_us_per_extra_node: float
    """Sent to one node more."""
    node_bytes: float
    node_bytes_per_viewer: float
    worker_bytes: float
    worker_bytes_per_generation: float
    redis_bytes_per_stream: float
    """An answer in Redis without its events: log, record, request and indexes."""
    redis_bytes_per_event: float
    wire_bytes_per_event: float
    node_redis_connections: float
    worker_redis_connections: float


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked for.

    Args:
        generations: answers in flight at any moment.
        viewers: per generation; need not be whole.
        tokens_per_s: of each generation.
        tokens_per_event: more than 1 where ``window_ms`` joins tokens.
        length: tokens of an answer.
        retention_s: how long its log stays after its end.
    """

    generations: float
    viewers: float = 1.0
    tokens_per_s: float = 50.0
    tokens_per_event: float = 1.0
    length: float = 1000.0
    retention_s: float = 3600.0

    @property
    def connections(self) -> float:
        """Open streams of all viewers."""
        return self.generations * self.viewers

    @property
    def events_per_s(self) -> float:
        """Appended, over all generations."""
        return self.generations * self.tokens_per_s / self.tokens_per_event

    @property
    def deliveries_per_s(self) -> float:
        """Written to viewers."""
        return self.events_per_s * self.viewers

    @property
    def kept_streams(self) -> float:
        """Logs in Redis: those in flight, and those that have ended within the retention."""
        ended_per_s = self.generations * self.tokens_per_s / self.length
        return self.generations + ended_per_s * self.retention_s


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of process in a plan, all of its processes together."""

    processes: int
    cores: float
    bytes: float
    redis_connections: float


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Something that one Redis server has only so much of."""

    name: str
    used: float
    limit: float

    @property
    def factor(self) -> float:
        """How many times this load reaches it; below 1 = this load is too much."""
        return self.limit / self.used if self.used else math.inf


@dataclass(frozen=True, slots=True)
class Plan:
    """What a load takes."""

    nodes: Part
    workers: Part
    redis: Part
    network: float
    """Bytes a second to all viewers."""
    ceilings: tuple[Ceiling, ...]
    """The nearest first."""


def spread(nodes: int, viewers: float) -> float:
    """On how many of ``nodes`` a stream is expected to be watched, when each viewer picks a node at random."""
    if nodes <= 1 or viewers <= 1:
        return min(viewers, 1.0)
    return nodes * (1 - (1 - 1 / nodes) ** viewers)


def plan(load: Load, units: Units) -> Plan:
    """The processes, cores, bytes and connections that a load takes."""
    count = 1
    while (wanted := _nodes_for(load, units, count)) > count:
        count = wanted
    heard = load.events_per_s * spread(count, load.viewers)
    workers = _workers(load, units)
    nodes = Part(
        processes=count,
        cores=node_cores(load, units, count),
        bytes=count * units.node_bytes + load.connections * units.node_bytes_per_viewer,
        redis_connections=count * units.node_redis_connections,
    )
    clients = nodes.redis_connections + workers.redis_connections
    entries = load.length / load.tokens_per_event
    kept = load.kept_streams * (units.redis_bytes_per_stream + entries * units.redis_bytes_per_event)
    # A notice carries the entries, so it is at most as long as what a viewer is sent.
    sent = heard * units.wire_bytes_per_event
    ceilings = (
        Ceiling("one core for commands", redis_cores(load, units, count), FULL),
        Ceiling("memory (64 GB)", kept, REDIS_BYTES),
        Ceiling("clients (maxclients 10,000)", clients, REDIS_CLIENTS),
        Ceiling("network out (10 Gbit/s)", sent, REDIS_NETWORK),
    )
    servers = max(1, *(math.ceil(1 / ceiling.factor) for ceiling in ceilings[:2]))
    return Plan(
        nodes=nodes,
        workers=workers,
        redis=Part(processes=servers, cores=redis_cores(load, units, count), bytes=kept, redis_connections=clients),
        network=load.deliveries_per_s * units.wire_bytes_per_event,
        ceilings=tuple(sorted(ceilings, key=lambda ceiling: ceiling.factor)),
    )


def node_cores(load: Load, units: Units, nodes: int) -> float:
    """CPU of all nodes together, when viewers are spread over so many."""
    heard = load.events_per_s * spread(nodes, load.viewers)
    work = heard * units.node_us_per_event + load.deliveries_per_s * units.node_us_per_delivery
    return nodes * units.node_busy_cores + work / 1e6


def worker_cores(load: Load, units: Units, workers: int) -> float:
    """CPU of all workers together."""
    return workers * units.worker_busy_cores + load.events_per_s * units.worker_us_per_event / 1e6


def redis_cores(load: Load, units: Units, nodes: int) -> float:
    """CPU of Redis; what nobody watches is appended all the same."""
    extra = max(spread(nodes, load.viewers) - 1, 0.0)
    each = units.redis_us_per_event + extra * units.redis_us_per_extra_node
    return units.redis_busy_cores + load.events_per_s * each / 1e6


def _nodes_for(load: Load, units: Units, count: int) -> int:
    by_cpu = node_cores(load, units, count) / FULL
    return max(1, math.ceil(by_cpu), math.ceil(load.connections / CONNECTIONS_PER_NODE))


def _workers(load: Load, units: Units) -> Part:
    count = max(1, math.ceil(load.generations / GENERATIONS_PER_WORKER))
    while worker_cores(load, units, count) > count * FULL:
        count += max(1, math.ceil(worker_cores(load, units, count) / FULL) - count)
    return Part(
        processes=count,
        cores=worker_cores(load, units, count),
        bytes=count * units.worker_bytes + load.generations * units.worker_bytes_per_generation,
        redis_connections=count * units.worker_redis_connections,
    )


def table(load: Load, planned: Plan) -> str:
    """The plan as Markdown."""
    rows = (("nodes", planned.nodes), ("workers", planned.workers), ("Redis", planned.redis))
    asked = (
        f"{load.generations:,.0f} generations × {load.viewers:g} viewers × {load.tokens_per_s:g} tokens/s: "
        f"{load.events_per_s:,.0f} events/s appended, {load.deliveries_per_s:,.0f}/s delivered, "
        f"{load.connections:,.0f} connections, {planned.network * 8 / 1e6:,.0f} Mbit/s to viewers"
    )
    lines = [
        asked,
        "",
        "| part | processes | CPU, cores | memory | connections to Redis |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {name} | {part.processes:,} | {part.cores:.2f} | {size(part.bytes)} | {part.redis_connections:,.0f} |"
        for name, part in rows
    ]
    nearest = planned.ceilings[0]
    lines += [
        "",
        f"Of one Redis server, the nearest limit is {nearest.name}: this load × {nearest.factor:.2g}.",
    ]
    return "\n".join(lines) + "\n"


def size(count: float) -> str:
    """Bytes, for people."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"


def _arguments(arguments: Sequence[str] | None) -> Load:
    parser = argparse.ArgumentParser(prog="python -m bench.capacity", description="What a load will take.")
    parser.add_argument("--generations", type=float, required=True, help="answers in flight at any moment")
    parser.add_argument("--viewers", type=float, default=1.0, help="per generation (1)")
    parser.add_argument("--tokens-per-s", type=float, default=50.0, help="of each generation (50)")
    parser.add_argument("--tokens-per-event", type=float, default=1.0, help="joined by delivery.window_ms (1)")
    parser.add_argument("--length", type=float, default=1000.0, help="tokens of an answer (1000)")
    parser.add_argument("--retention-s", type=float, default=3600.0, help="how long a log stays (3600)")
    return Load(**vars(parser.parse_args(arguments)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the plan for the load that the arguments name."""
    from bench.units import measured  # noqa: PLC0415 - it stands on this module

    load = _arguments(arguments)
    print(table(load, plan(load, measured())), end="")


if __name__ == "__main__":
    main()
