"""A generation as other vendors' wires answer it outside a stream: what was asked, and the answer block by block."""

from __future__ import annotations

from dataclasses import dataclass

from broker.content import Block
from broker.events import Terminal
from broker.record import Record
from broker.submission import Submission


@dataclass(frozen=True, slots=True)
class Answer:
    """As it stood when the record was read."""

    submission: Submission
    record: Record
    """Without its output."""
    blocks: list[Block]
    provider: str
    """Who gives it; empty = nobody has begun."""
    attempt: int
    """Which one began the answer, though later ones may have gone on with it."""
    terminal: Terminal | None
    """How it ended; None = it has not."""
