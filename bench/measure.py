"""What every scenario is made of: rows of figures, and a phase of load with the CPU that it cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bench.load_generator import Load, judged
from bench.machine import cpu_ns, pss_kib
from bench.publishing import Producing
from bench.systems import System

LATE_NS = 5_000_000
"""A producer whose p99 is later than this did not keep its rate."""

BEHIND_MS = 500.0
"""Past this viewers are served a backlog: what an event costs then is not what it costs live."""
FULL_SHARE = 0.95
"""Past this share the other core is the bottleneck, and latencies say little about the system under test."""


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of one system in one round."""

    metric: str
    """A key of :data:`bench.goals.GOALS`, or another name that the report shows without a goal."""
    system: str
    value: float | None
    """``None``: this system can't be measured here; ``note`` says why."""
    note: str = ""
    raw: dict[str, Any] = field(default_factory=dict[str, Any])
    """Whatever the value was made from."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One stretch of load, judged sound."""

    tokens: int
    """Tokens that all viewers together have seen."""
    wall_ns: int
    node_ns: int
    redis_ns: int
    load: dict[str, Any]
    producer: dict[str, Any]

    @property
    def punctual(self) -> bool:
        """Whether the producer kept its rate."""
        return self.producer["late_p99_ns"] <= LATE_NS

    def latency_ms(self, share: str) -> float:
        """``p50``, ``p99``, ``p999`` or ``max`` of the way from the producer to the viewer."""
        return self.load["latency"][share] / 1e6

    @property
    def other_core(self) -> float:
        """Share of the other core that Redis, the producer and the load generator took."""
        return (self.redis_ns + self.producer["cpu_ns"] + self.load["cpu_ns"]) / self.wall_ns

    @property
    def note(self) -> str:
        """What a reader of the figures has to know."""
        said: list[str] = []
        if not self.punctual:
            said.append(f"the producer was late: p99 {self.producer['late_p99_ns'] / 1e6:.1f} ms")
        if self.latency_ms("p99") > BEHIND_MS:
            said.append("viewers fell behind and read in batches")
        if self.other_core > FULL_SHARE:
            said.append(f"Redis, producer and viewers had {self.other_core:.0%} of their core")
        return ", ".join(said)

    def raw(self) -> dict[str, Any]:
        """For the results."""
        own = {"tokens": self.tokens, "wall_ns": self.wall_ns, "node_ns": self.node_ns, "redis_ns": self.redis_ns}
        return {**own, "load": self.load, "producer": self.producer}


def node_cpu_ns(system: System) -> int:
    """CPU so far of the processes that serve viewers."""
    return sum(cpu_ns(pid) for pid in system.pids["node"])


def node_pss_kib(system: System) -> int:
    """Memory of the processes that serve viewers."""
    return sum(pss_kib(pid) for pid in system.pids["node"])


async def phase(
    system: System, load: Load, producing: Producing, *, last: int, rate: float, timeout_s: float, first: int = 1
) -> Phase:
    """Publish tokens ``first`` … ``last`` on every stream at ``rate`` and wait until all viewers have seen them.

    Raises :class:`bench.load_generator.Unsound` when one was lost, doubled, reordered, or not there in time.
    """
    redis = system.redis
    count = last - first + 1
    node_before, redis_before = node_cpu_ns(system), await redis.cpu_ns() if redis else 0
    await load.begin(last, timeout_s)
    produced = await producing.run(count, rate, timeout_s=timeout_s + 30)
    seen = judged(await load.result())
    node_after, redis_after = node_cpu_ns(system), await redis.cpu_ns() if redis else 0
    return Phase(seen["tokens"], seen["wall_ns"], node_after - node_before, redis_after - redis_before, seen, produced)
