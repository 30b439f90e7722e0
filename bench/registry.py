"""Which systems and scenarios there are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from bench.measure import Row
from bench.naive.system import naive
from bench.ours import ours
from bench.scale import Scale
from bench.scenarios import live
from bench.systems import MakeSystem, System

SYSTEMS: dict[str, MakeSystem] = {
    "naive": naive,
    "ours": ours,
    "ours-plain": partial(ours, "ours-plain", LIVE="plain"),
    "ours-poll": partial(ours, "ours-poll", LIVE="poll"),
}
DEFAULT_SYSTEMS = ("naive", "ours")

Measure: TypeAlias = Callable[[System, Scale], Awaitable[list[Row]]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing to measure on every system."""

    name: str
    measure: Measure
    also: tuple[str, ...] = ()
    """Systems that take part whatever was asked for: the floor."""


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("w1_20k", live.w1_20k),
    Scenario("w1_60k", live.w1_60k),
    Scenario("w2", live.w2),
)
