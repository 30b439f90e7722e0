"""How big a run is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """``size`` multiplies numbers of streams, viewers and tokens; ``time`` multiplies seconds and repeats."""

    size: float = 1.0
    time: float = 1.0
    smoke: bool = False
    """Only whether everything works: the fewest steps that touch all code."""

    def of(self, number: int) -> int:
        """That many, scaled; at least two."""
        return max(int(number * self.size), 2)

    def seconds(self, seconds: float) -> float:
        """That long, scaled."""
        return seconds * self.time

    def repeats(self, number: int) -> int:
        """That often, scaled; at least twice."""
        return max(int(number * self.time), 2)


FULL = Scale()
QUICK = Scale(time=0.4)
SMOKE = Scale(size=0.02, time=0.05, smoke=True)
