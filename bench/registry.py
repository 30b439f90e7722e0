"""Which systems and scenarios there are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import TypeAlias

from bench.floor import floor
from bench.measure import Row
from bench.naive.system import naive
from bench.ours import ours
from bench.peers.registry import PEERS, installed
from bench.scale import Scale
from bench.scenarios import control, live, reading
from bench.systems import MakeSystem, System

SYSTEMS: dict[str, MakeSystem] = {
    "naive": naive,
    "ours": ours,
    "floor": floor,
    "ours-plain": partial(ours, "ours-plain", LIVE="plain"),
    "ours-poll": partial(ours, "ours-poll", LIVE="poll"),
    **{name: peer.make for name, peer in PEERS.items()},
}
MODULES = {"append": 3, "queue_load": 1, "ttft": 2, "sdk": 2, "chat": 3}
"""What workers, the queue, the SDKs and the way through us cost, and how many rounds of each tell."""


def default_systems() -> list[str]:
    """The naive design, ours, and the peers that this machine can run."""
    return ["naive", "ours", *installed()]


Measure: TypeAlias = Callable[[System, Scale], Awaitable[list[Row]]]
MeasureAlone: TypeAlias = Callable[[Scale], Awaitable[list[Row]]]


@dataclass(frozen=True, slots=True)
class Alone:
    """A scenario that starts what it needs by itself, and names its systems in its rows."""

    name: str
    measure: MeasureAlone
    most_rounds: int = 3
    """One that repeats itself within a round needs fewer."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing to measure on every system."""

    name: str
    measure: Measure
    floor: bool = False
    """The floor takes part, whatever was asked for: what it takes is what the harness and the kernel take. Elsewhere
    it never does, for it keeps nothing."""


def plugged() -> list[Alone]:
    """Scenarios that are a module of ``bench`` with ``async def run(scale: Scale) -> list[Row]``."""
    there = [name for name in MODULES if find_spec(f"bench.{name}") is not None]
    return [Alone(name, import_module(f"bench.{name}").run, MODULES[name]) for name in there]


SCENARIOS: tuple[Scenario | Alone, ...] = (
    Scenario("w1_20k", live.w1_20k, floor=True),
    Scenario("w1_60k", live.w1_60k),
    Scenario("w2", live.w2, floor=True),
    Scenario("idle", reading.idle),
    Scenario("log", reading.log_bytes),
    Scenario("replay", reading.replay),
    Scenario("rejoin_one", reading.rejoin_one),
    Scenario("rejoin_many", reading.rejoin_many),
    Alone("start", control.starts),
    Alone("cancel", control.cancels),
    Alone("takeover", control.takeovers, most_rounds=2),
    Alone("fire", control.failures, most_rounds=1),
    Alone("stuck", control.stuck, most_rounds=1),
    *plugged(),
)
