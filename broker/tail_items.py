"""What a tail yields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from broker.events import Entry


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries that continue the reader's position densely; ``live`` = just written, not replayed."""

    entries: list[Entry]
    live: bool


@dataclass(frozen=True, slots=True)
class Live:
    """The reader has reached the tail of a log that has not ended: said once."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The reader's position is not in this log: it must clear what it has; the whole log follows."""

    reason: str


TailItem: TypeAlias = Batch | Live | Reset
