"""The checker's verdict over a run: one screen for people, one JSON file for everything else."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.support.history import Anomaly

_SHOWN = 8


@dataclass
class Verdict:
    """What was done, what was measured, and what went wrong."""

    title: str
    seed: int
    counts: Mapping[str, int]
    required: Mapping[str, int] = field(default_factory=dict[str, int])
    """The least that must have happened for the run to mean anything."""
    faults: Mapping[str, int] = field(default_factory=dict[str, int])
    figures: Mapping[str, str] = field(default_factory=dict[str, str])
    anomalies: Sequence[Anomaly] = ()
    leaks: Sequence[str] = ()
    """Keys without a TTL, connections that were not given back, processes that died of themselves."""

    @property
    def missing(self) -> dict[str, str]:
        """What did not happen often enough."""
        have = {**self.counts, **self.faults}
        return {name: f"{have.get(name, 0)} of {n}" for name, n in self.required.items() if have.get(name, 0) < n}

    @property
    def ok(self) -> bool:
        """Enough was done, and nothing went wrong."""
        return not (self.anomalies or self.leaks or self.missing)

    def render(self) -> str:
        """One screen."""
        lines = [f"{self.title}  (seed {self.seed})", ""]
        lines += _columns({name: str(count) for name, count in self.counts.items()})
        if self.faults:
            lines += ["", "faults", *_columns({name: str(count) for name, count in self.faults.items()})]
        if self.figures:
            lines += ["", "figures", *(f"  {name:<44} {value}" for name, value in self.figures.items())]
        lines += ["", *self._outcome()]
        return "\n".join(lines)

    def _outcome(self) -> list[str]:
        names = Counter(anomaly.name for anomaly in self.anomalies)
        lines = [f"anomalies {len(self.anomalies)}" + "".join(f"  {name}: {n}" for name, n in names.most_common())]
        lines += [f"  {found.name:<14} {found.viewer}: {found.detail}" for found in self.anomalies[:_SHOWN]]
        lines += [f"  … and {len(self.anomalies) - _SHOWN} more"] if len(self.anomalies) > _SHOWN else []
        lines += [f"leak: {leak}" for leak in self.leaks[:_SHOWN]]
        lines += [f"too few {name}: {count}" for name, count in self.missing.items()]
        return [*lines, "PASS" if self.ok else "FAIL"]

    def write(self, path: Path) -> None:
        """The same as JSON, with every anomaly."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**asdict(self), "missing": self.missing, "ok": self.ok}, indent=1) + "\n")


def _columns(values: Mapping[str, str], width: int = 3) -> list[str]:
    cells = [f"{name:<29}{value:>6}" for name, value in values.items()]
    return ["  " + "   ".join(cells[at : at + width]) for at in range(0, len(cells), width)]
