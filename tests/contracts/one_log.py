"""A door behind which one log stands, for the formats."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

from api.door import Replay
from broker.events import TERMINAL_TYPES, Entry
from broker.merge import merge_entries
from broker.position import START, Position
from broker.submission import Submission
from broker.tail_items import Batch, Live, Reset, TailItem, Viewer
from tests.contracts.histories import restarts


@dataclass(frozen=True)
class OneStat:
    """See ``api.door``."""

    top: Position
    restart: int
    ended: bool = False


def submitted(log: list[Entry]) -> Submission:
    """What is known of these logs' generations when nobody kept what was asked for."""
    record = cast("Any", log[0].event).generation
    return Submission(record["id"], record["model"], record["created_at"], record["metadata"])


@dataclass
class OneLog:
    """A door behind which one log stands: ``replayed`` entries are there, the rest is written while it is read."""

    log: list[Entry]
    replayed: int
    pieces: Sequence[int] = ()
    asked: Submission | None = None

    async def stat(self, generation: str, *, tenant: str = "") -> OneStat:
        """How the log stood when the reader came."""
        del generation, tenant
        seqs = [entry.position.seq for entry in self.log[: self.replayed] if restarts(entry)]
        return OneStat(self.log[-1].position, seqs[-1] if seqs else 0)

    async def submission(self, generation: str, *, tenant: str = "") -> Submission:
        """What was asked for."""
        del generation, tenant
        return self.asked or submitted(self.log)

    async def prefix(self, generation: str, last: Position) -> AsyncGenerator[Batch, None]:
        """In pages of three entries."""
        del generation
        for start in range(0, last.seq, 3):
            yield Batch(self.log[start : start + 3], live=False)

    async def tail(
        self,
        generation: str,
        after: Position = START,
        *,
        tenant: str = "",
        replay: Replay = "merged",
        viewer: Viewer | None = None,
        stat: object = None,
    ) -> AsyncGenerator[TailItem, None]:
        """What a tail of the broker yields; at the tail of a log that goes on, this one ends."""
        del generation, tenant, viewer, stat
        known = {entry.position for entry in self.log}
        if after != START and after not in known:
            yield Reset("position_not_in_log")
            after = START
        there = [entry for entry in self.log[: self.replayed] if entry.position > after]
        if there:
            yield Batch(merge_entries(there) if replay == "merged" else there, live=False)
        if self.log[: self.replayed] and isinstance(self.log[self.replayed - 1].event, TERMINAL_TYPES):
            return
        yield Live()
        edges = sorted({self.replayed, *(self.replayed + n for n in self.pieces), len(self.log)})
        for start, stop in pairwise(edge for edge in edges if edge <= len(self.log)):
            fresh = [entry for entry in self.log[start:stop] if entry.position > after]
            if fresh:
                yield Batch(fresh, live=True)
