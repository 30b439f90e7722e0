"""W1: many streams with one viewer each. W2: one stream with many viewers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bench.load_generator import Load, hold
from bench.measure import Phase, Row, phase
from bench.publishing import Producing, producing
from bench.scale import Scale
from bench.systems import System

W1_RATE = 20.0
W1_S = 8.0
W2_RATE = 200.0
W2_S = 5.0
W2_LEAST_RATE = 50.0
W2_STEP_S = 1.0
W2_STEP = 1.3
W2_TRIES = 2
"""What else the machine did may have been to blame the first time."""
"""By how much the rate is raised until viewers fall behind."""
W2_MAX_RATE = 2000.0
SUSTAINED_P99_MS = 100.0
"""Past this, viewers are falling behind rather than being served."""


async def w1(system: System, name: str, streams: int, seconds: float) -> list[Row]:
    """``streams`` x 1 viewer x 20/s."""
    opened = await system.open_streams(streams)
    viewers = await system.viewers([(stream, 0) for stream in opened])
    count = max(int(W1_RATE * seconds), 2)
    warm = max(count // 5, 1)
    async with (
        hold(system.port, viewers, ids=system.ids) as load,
        producing(system.publishing(), opened) as producer,
    ):
        before = await system.redis.connections() if system.redis else 0
        await phase(system, load, producer, last=warm, rate=W1_RATE, timeout_s=seconds + 20)
        seen = await phase(
            system, load, producer, first=warm + 1, last=warm + count, rate=W1_RATE, timeout_s=seconds * 2 + 20
        )
        connections = max(before, await system.redis.connections()) if system.redis else None
    return _w1_rows(system, name, seen, connections)


def _w1_rows(system: System, name: str, seen: Phase, connections: int | None) -> list[Row]:
    raw = seen.raw()

    def row(metric: str, value: float | None) -> Row:
        return Row(f"{name}.{metric}", system.name, value, seen.note, raw if metric == "p50_ms" else {})

    rows = [row(f"{share}_ms", seen.latency_ms(share)) for share in ("p50", "p99", "p999")]
    rows.append(row("node_us", seen.node_ns / seen.tokens / 1e3))
    rows.append(row("core_share", seen.node_ns / seen.wall_ns))
    rows.append(row("other_core", seen.other_core))
    if connections is not None:
        rows += [row("redis_us", seen.redis_ns / seen.tokens / 1e3), row("redis_connections", connections)]
    return rows


async def w1_20k(system: System, scale: Scale) -> list[Row]:
    """1000 x 1 x 20/s."""
    return await w1(system, "w1_20k", scale.of(1000), scale.seconds(W1_S))


async def w1_60k(system: System, scale: Scale) -> list[Row]:
    """3000 x 1 x 20/s on one node's core."""
    return await w1(system, "w1_60k", scale.of(3000), scale.seconds(W1_S))


async def w2(system: System, scale: Scale) -> list[Row]:
    """1 x 1000 x 200/s, and the highest rate that all viewers keep up with."""
    opened = await system.open_streams(1)
    fan_out = scale.of(1000)
    viewers = await system.viewers([(opened[0], 0)] * fan_out)
    seconds = scale.seconds(W2_S)
    async with (
        hold(system.port, viewers, ids=system.ids) as load,
        producing(system.publishing(), opened) as producer,
    ):
        warm = max(int(W2_RATE * seconds / 5), 2)
        await phase(system, load, producer, last=warm, rate=W2_RATE / 4, timeout_s=60)
        last = warm + max(int(W2_RATE * seconds), 2)
        fixed = await phase(system, load, producer, first=warm + 1, last=last, rate=W2_RATE, timeout_s=60)
        climb = await _climb(system, load, producer, last, scale)
    raw = fixed.raw()
    return [
        Row("w2.node_us", system.name, fixed.node_ns / fixed.tokens / 1e3, fixed.note, raw),
        Row("w2.p50_ms", system.name, fixed.latency_ms("p50"), fixed.note),
        Row("w2.p99_ms", system.name, fixed.latency_ms("p99"), fixed.note),
        Row("w2.core_share", system.name, fixed.node_ns / fixed.wall_ns, fixed.note),
        Row("w2.max_per_s", system.name, climb.best, climb.end, {"steps": climb.steps}),
    ]


@dataclass(slots=True)
class _Climb:
    """The highest rate that all viewers keep up with, and what ended the search."""

    best: float = 0.0
    end: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


async def _climb(system: System, load: Load, producer: Producing, last: int, scale: Scale) -> _Climb:
    climb = _Climb()
    rate = W2_LEAST_RATE
    failures = 0
    while rate <= W2_MAX_RATE and failures < W2_TRIES:
        first, last = last + 1, last + max(int(rate * scale.seconds(W2_STEP_S)), 2)
        seen = await phase(system, load, producer, first=first, last=last, rate=rate, timeout_s=60)
        p99, late = seen.latency_ms("p99"), seen.producer["late_p99_ns"] / 1e6
        climb.steps.append({"rate": rate, "p99_ms": p99, "late_ms": late, "node_share": seen.node_ns / seen.wall_ns})
        if p99 > SUSTAINED_P99_MS or not seen.punctual:
            failures += 1
            climb.end = f"ended at {rate:,.0f}/s with p99 {p99:,.0f} ms, producer {late:.1f} ms late"
            continue
        failures = 0
        climb.best = seen.tokens / seen.producer["published_ns"] * 1e9
        rate *= W2_STEP
        if scale.smoke:
            break
    return climb
