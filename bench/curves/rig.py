"""One point of a curve: a fresh system, viewers, a producer, and what they cost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from bench.curves.points import SECONDS, Point
from bench.load_generator import Load, hold, judged, race
from bench.machine import cpu_ns, pss_kib
from bench.measure import node_cpu_ns, node_pss_kib
from bench.publishing import Producing, producing
from bench.scenarios.reading import WORDS
from bench.systems import Stream, System

WARM_S = 0.5
"""Tokens of this long go before: caches, connections and scripts on first use are not what a token costs."""
KEPT = 0.95
"""Viewers that got less than this share of what was said in its time are behind: more load would show no more cost."""
LATE_S = 5.0
"""A viewer that is further behind than this in the end has not been served."""


async def live(systems: Sequence[System], point: Point) -> dict[str, Any]:
    """Tokens at a rate, with every viewer connected from the start; viewers take the systems' nodes in turn.

    Raises :class:`bench.load_generator.Unsound`.
    """
    redis = systems[0].redis
    empty = await redis.memory() if redis else 0
    streams = await systems[0].open_streams(point.streams)
    opened = (await redis.memory() if redis else 0) - empty
    wanted = [(stream, 0) for _ in range(point.viewers) for stream in streams]
    shares = [wanted[at :: len(systems)] for at in range(len(systems))]
    warm, each = max(2, round(point.rate * WARM_S)), max(2, round(point.rate * SECONDS))
    async with AsyncExitStack() as stack:
        loads = [
            await stack.enter_async_context(hold(system.port, await system.viewers(share), ids=system.ids))
            for system, share in zip(systems, shares, strict=True)
            if share
        ]
        producer = await stack.enter_async_context(producing(systems[0].publishing(), streams))
        await _flow(loads, producer, last=warm, count=warm, rate=point.rate)
        before = await _account(systems)
        reports, sent = await _flow(loads, producer, last=warm + each, count=each, rate=point.rate)
        after = await _account(systems)
    more = {"heard_on": _heard_on(shares) / point.streams, "redis_bytes_per_open_stream": opened / point.streams}
    return _row(point, sent, reports, before, after) | more


async def _flow(
    loads: Sequence[Load], producer: Producing, *, last: int, count: int, rate: float
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Publish so many tokens on each stream and wait until every viewer has token ``last``."""
    timeout_s = count / rate + LATE_S
    loop = asyncio.get_running_loop()
    waiting = [loop.create_task(load.until(last, timeout_s)) for load in loads]
    # The load generators must have begun to count before the first token comes.
    await asyncio.sleep(0.05)
    sent = await producer.run(count, rate, timeout_s=timeout_s + 30)
    return [judged(await report) for report in waiting], sent


async def _account(systems: Sequence[System]) -> dict[str, float]:
    """What was used so far: seconds of CPU, bytes."""
    redis = systems[0].redis
    return {
        "node_s": sum(node_cpu_ns(system) for system in systems) / 1e9,
        "node_bytes": sum(node_pss_kib(system) for system in systems) * 1024.0,
        "redis_s": await redis.cpu_ns() / 1e9 if redis else 0.0,
        "node_redis_connections": (await redis.connections() if redis else 0) / len(systems),
    }


def _row(
    point: Point,
    sent: Mapping[str, Any],
    reports: Sequence[Mapping[str, Any]],
    before: Mapping[str, float],
    after: Mapping[str, float],
) -> dict[str, Any]:
    wall = max(report["wall_ns"] for report in reports) / 1e9
    seen = sum(report["tokens"] for report in reports)
    return {
        "events_per_s": sent["tokens"] / wall,
        "deliveries_per_s": seen / wall,
        "behind": seen / wall < KEPT * point.deliveries_per_s,
        "connections": point.streams * point.viewers,
        # Of several nodes, the one that is worst off.
        "p50_ms": max(report["latency"]["p50"] for report in reports) / 1e6,
        "p99_ms": max(report["latency"]["p99"] for report in reports) / 1e6,
        "node_cores": (after["node_s"] - before["node_s"]) / wall,
        "redis_cores": (after["redis_s"] - before["redis_s"]) / wall,
        "load_cores": sum(report["cpu_ns"] for report in reports) / 1e9 / wall,
        "producer_late_ms": sent["late_p99_ns"] / 1e6,
        "node_bytes": after["node_bytes"],
        "node_redis_connections": after["node_redis_connections"],
        "wire_bytes_per_event": sum(report["bytes"] for report in reports) / max(seen, 1),
    }


def _heard_on(shares: Iterable[Sequence[tuple[Stream, int]]]) -> int:
    """Streams that are watched on a node, over all nodes."""
    return sum(len({stream.name for stream, _ in share}) for share in shares)


async def whole_log(system: System, point: Point) -> dict[str, Any]:
    """A log read from its start by one reader, cold and then warm, on three logs; the medians count.

    Raises :class:`bench.load_generator.Unsound`.
    """
    cold: list[float] = []
    warm: list[float] = []
    for stream in await system.open_streams(3):
        async with producing(system.publishing(), [stream]) as producer:
            await producer.run(point.length, 0)
        for times in (cold, warm):
            viewers = await system.viewers([(stream, 0)])
            report = await race(system.port, viewers, target=point.length, ids=system.ids, burst=1)
            times.append(report["each_ns"][0] / 1e6)
    (stream,) = await system.open_streams(1)
    async with producing(system.publishing(), [stream]) as producer:
        # Marks are longer than words: what a log holds in the end is measured with tokens of a usual length.
        await producer.run(point.length, 0, words=WORDS)
    size = await system.log_bytes(stream)
    return {"cold_ms": sorted(cold)[1], "warm_ms": sorted(warm)[1], "log_bytes": size}


def process_account(pid: int) -> tuple[float, float]:
    """Seconds of CPU so far, and bytes of memory, of one process."""
    return cpu_ns(pid) / 1e9, pss_kib(pid) * 1024.0
