"""Which points are measured: pure data. Every curve varies one thing and holds the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

System: TypeAlias = Literal["rejoinder", "naive"]
Curve: TypeAlias = Literal["viewers", "streams", "tokens", "log", "nodes", "workers", "check"]

SECONDS = 6.0
"""A live point is measured for so long, after its connections stand."""


@dataclass(frozen=True, slots=True)
class Point:
    """One short run."""

    curve: Curve
    x: float
    """What the curve varies, in the curve's own unit."""
    system: System
    streams: int = 1
    viewers: int = 1
    """Of each stream."""
    rate: float = 20.0
    """Tokens a second of each stream; 0 = the log is whole before anybody reads it."""
    length: int = 0
    """Tokens of a log that is read from its start, cold and warm."""
    nodes: int = 1

    @property
    def deliveries_per_s(self) -> float:
        """Events that all viewers together should get in a second."""
        return self.streams * self.viewers * self.rate

    @property
    def name(self) -> str:
        """For a line of progress."""
        return f"{self.curve} {self.x:g} {self.system}"


VIEWERS = (1, 10, 100, 1000, 3000, 10_000)
STREAMS = (1, 10, 100, 1000, 2500, 5000)
TOKENS = (1000, 2000, 5000, 10_000, 20_000, 30_000, 45_000, 60_000)
LENGTHS = (10, 100, 1000, 10_000, 100_000)
NODES = (1, 2, 3, 4)
WORKERS = (50, 250, 500, 1000)

# A naive reader holds a connection to Redis and a blocking read, and one core is full long before ours is: past
# these it only falls behind, and a point that falls behind says nothing about cost.
NAIVE_VIEWERS = 500
NAIVE_STREAMS = 1000
NAIVE_TOKENS = 10_000
NAIVE_LENGTH = 10_000

_PER_STREAM = 4.0
_PER_VIEWER = 10.0
_TOKEN_STREAMS = 500


def points(quick: bool = False) -> list[Point]:
    """All of them, ours and naive side by side; ``quick`` = every second value of ours, without naive."""
    found = [*_viewers(), *_streams(), *_tokens(), *_log(), *_nodes(), *_workers(), *checks()]
    if not quick:
        return found
    return [point for point in found if point.system == "rejoinder"][::2]


def checks() -> list[Point]:
    """Mixed loads that no curve holds, and that no unit cost is fitted to: the model has to predict them."""
    return [
        Point("check", 1, "rejoinder", streams=300, viewers=3, rate=10.0),
        Point("check", 2, "rejoinder", streams=20, viewers=40, rate=10.0),
    ]


def _viewers() -> list[Point]:
    ours = [Point("viewers", n, "rejoinder", viewers=n, rate=_PER_VIEWER) for n in VIEWERS]
    return ours + [Point("viewers", n, "naive", viewers=n, rate=_PER_VIEWER) for n in VIEWERS if n <= NAIVE_VIEWERS]


def _streams() -> list[Point]:
    ours = [Point("streams", n, "rejoinder", streams=n, rate=_PER_STREAM) for n in STREAMS]
    return ours + [Point("streams", n, "naive", streams=n, rate=_PER_STREAM) for n in STREAMS if n <= NAIVE_STREAMS]


def _tokens() -> list[Point]:
    def at(total: int, system: System) -> Point:
        return Point("tokens", total, system, streams=_TOKEN_STREAMS, rate=total / _TOKEN_STREAMS)

    return [at(n, "rejoinder") for n in TOKENS] + [at(n, "naive") for n in TOKENS if n <= NAIVE_TOKENS]


def _log() -> list[Point]:
    ours = [Point("log", n, "rejoinder", rate=0, length=n) for n in LENGTHS]
    return ours + [Point("log", n, "naive", rate=0, length=n) for n in LENGTHS if n <= NAIVE_LENGTH]


def _nodes() -> list[Point]:
    return [Point("nodes", n, "rejoinder", streams=500, viewers=2, rate=10.0, nodes=n) for n in NODES]


def _workers() -> list[Point]:
    return [Point("workers", n, "rejoinder", streams=n) for n in WORKERS]
