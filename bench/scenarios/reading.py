"""What is read late: replays, rejoins, what idle viewers and logs cost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from bench.load_generator import hold, race
from bench.machine import forget_peak, peak_kib
from bench.measure import Row, node_pss_kib
from bench.publishing import producing
from bench.scale import Scale
from bench.stats import percentile
from bench.systems import Stream, System

IDLE = 5000
REPLAY_TOKENS = 10_000
REJOINERS = 1000
BEHIND_ONE = 1000
BEHIND_MANY = 250
SEEN = 100
"""What a rejoining viewer has already."""
SETTLE_S = 1.0


async def _filled(system: System, streams: int, tokens: int, words: Sequence[str] = ()) -> list[Stream]:
    opened = await system.open_streams(streams)
    async with producing(system.publishing(), opened) as producer:
        await producer.run(tokens, 0, words=words)
    return opened


async def idle(system: System, scale: Scale) -> list[Row]:
    """Memory of the node for each viewer that waits on a stream of its own."""
    warm = await system.open_streams(2)
    opened = await system.open_streams(scale.of(IDLE))
    # A first viewer, so that what is loaded once is not counted.
    async with hold(system.port, await system.viewers([(stream, 0) for stream in warm]), ids=system.ids):
        before = node_pss_kib(system)
        viewers = await system.viewers([(stream, 0) for stream in opened])
        async with hold(system.port, viewers, ids=system.ids):
            await asyncio.sleep(scale.seconds(SETTLE_S))
            after = node_pss_kib(system)
    kb = (after - before) * 1024 / 1000 / len(opened)
    raw = {"before_kib": before, "after_kib": after, "viewers": len(opened)}
    return [Row("idle.kb", system.name, kb, raw=raw)]


WORDS = (
    " The",
    " quick",
    " brown",
    " fox",
    " jumps",
    " over",
    " the",
    " lazy",
    " dog",
    ",",
    " quietly",
    " judging",
    ".",
)
"""Of an answer's usual length: four to five bytes."""


async def log_bytes(system: System, scale: Scale) -> list[Row]:
    """Bytes of the log per token, of words of an answer's usual length."""
    tokens = scale.of(REPLAY_TOKENS)
    opened = await _filled(system, 1, tokens, WORDS)
    taken = await system.log_bytes(opened[0])
    return [Row("log.bytes_per_token", system.name, None if taken is None else taken / tokens, raw={"bytes": taken})]


async def replay(system: System, scale: Scale) -> list[Row]:
    """One viewer reads a whole stream: fresh ones, one after the other, then the last one again and again."""
    tokens, repeats = scale.of(REPLAY_TOKENS), scale.repeats(10)
    opened = await _filled(system, repeats + 1, tokens)
    # The first stream warms the code, which is not what is meant by cold.
    await _race(system, opened[:1] * 2, 0, tokens, burst=1)
    cold = await _race(system, opened[1:], 0, tokens, burst=1)
    warm = await _race(system, opened[-1:] * repeats, 0, tokens, burst=1)
    return [
        Row(f"replay.{kind}_ms", system.name, percentile(each, 0.5) / 1e6, raw={"each_ns": each})
        for kind, each in (("cold", cold["each_ns"]), ("warm", warm["each_ns"]))
    ]


async def rejoin_one(system: System, scale: Scale) -> list[Row]:
    """Everybody comes back at once to one stream."""
    viewers, behind = scale.of(REJOINERS), scale.of(BEHIND_ONE)
    opened = await _filled(system, 1, SEEN + behind)
    return await _rejoin("rejoin_one", system, opened * viewers, SEEN + behind)


async def rejoin_many(system: System, scale: Scale) -> list[Row]:
    """Everybody comes back at once, each to a stream of his own."""
    viewers, behind = scale.of(REJOINERS), scale.of(BEHIND_MANY)
    opened = await _filled(system, viewers, SEEN + behind)
    return await _rejoin("rejoin_many", system, opened, SEEN + behind)


async def _rejoin(name: str, system: System, streams: Sequence[Stream], last: int) -> list[Row]:
    nodes = system.pids["node"]
    before = sum(forget_peak(pid) for pid in nodes)
    report = await _race(system, streams, SEEN, last, burst=len(streams))
    peak = sum(peak_kib(pid) for pid in nodes)
    del report["each_ns"]
    each = report["times"]
    return [
        Row(f"{name}.s", system.name, report["wall_ns"] / 1e9, raw=report),
        Row(f"{name}.p50_ms", system.name, each["p50"] / 1e6),
        Row(f"{name}.p99_ms", system.name, each["p99"] / 1e6),
        Row(f"{name}.peak_kb", system.name, (peak - before) * 1.024 / len(streams)),
    ]


async def _race(system: System, streams: Sequence[Stream], after: int, last: int, *, burst: int) -> dict[str, Any]:
    viewers = await system.viewers([(stream, after) for stream in streams])
    return await race(system.port, viewers, target=last, ids=system.ids, burst=burst)
