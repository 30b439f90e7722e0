"""Counters of the whole fleet, kept in Redis by whoever ends a generation, so that any node can show them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from itertools import accumulate

from broker.errors import LogUnavailable
from broker.keys import Keys
from broker.record import Record
from broker.redis import Redis, text, unavailable

TTFT_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class FleetStats:
    """Sums since the counters' key was made; bucket counts are cumulative, seconds."""

    generations: dict[str, int] = field(default_factory=dict[str, int])
    output_tokens: int = 0
    unconfirmed: int = 0
    """Ends that did not arrive on replicas or disk within ``wait_s``."""
    ttft_buckets: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    ttft_sum: float = 0.0
    ttft_count: int = 0
    active: int = 0
    """Generations that have not ended, or ended less than a minute ago."""
    queued: int = 0
    """Jobs that wait or run."""


class FleetCounters:
    """Adds up ended generations."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def ended(self, record: Record, *, kept: bool = True) -> None:
        """Count one generation that has just ended; ``kept``: its end has arrived wherever the settings want it."""
        pipe = self._redis.pipeline(transaction=False)
        if not kept:
            pipe.hincrby(self._keys.stats, "unconfirmed", 1)
        pipe.hincrby(self._keys.stats, f"generations:{record.status}", 1)
        if record.usage and record.usage.output_tokens:
            pipe.hincrby(self._keys.stats, "output_tokens", record.usage.output_tokens)
        if record.timing and record.timing.ttft_ms is not None:
            seconds = record.timing.ttft_ms / 1000
            bucket = next((str(top) for top in TTFT_BUCKETS_S if seconds <= top), "inf")
            pipe.hincrby(self._keys.stats, f"ttft:{bucket}", 1)
            pipe.hincrbyfloat(self._keys.stats, "ttft_sum", seconds)
        # What is counted has happened: an uncounted generation is the lesser evil.
        with contextlib.suppress(LogUnavailable), unavailable():
            await pipe.execute()

    async def read(self) -> FleetStats:
        """The sums at this moment."""
        with unavailable():
            pipe = self._redis.pipeline(transaction=False)
            pipe.hgetall(self._keys.stats)
            pipe.zcount(self._keys.active, 0, 0)
            pipe.zcard(self._keys.queue)
            raw, active, queued = await pipe.execute()
        values = {text(key): text(value) for key, value in raw.items()}
        counts = [int(values.get(f"ttft:{top}", 0)) for top in (*TTFT_BUCKETS_S, "inf")]
        return FleetStats(
            generations={k.partition(":")[2]: int(v) for k, v in values.items() if k.startswith("generations:")},
            output_tokens=int(values.get("output_tokens", 0)),
            unconfirmed=int(values.get("unconfirmed", 0)),
            ttft_buckets=list(zip((*TTFT_BUCKETS_S, float("inf")), accumulate(counts), strict=True)),
            ttft_sum=float(values.get("ttft_sum", 0)),
            ttft_count=sum(counts),
            active=active,
            queued=queued,
        )
