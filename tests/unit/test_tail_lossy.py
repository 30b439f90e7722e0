"""The whole reader over hints that can not be trusted: lost, doubled, late, out of order, of a forgotten history."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import Any, Literal, cast

from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from broker.channel import BYTES_HELD, Hints
from broker.events import DELTA_TYPES, TERMINAL_TYPES, Entry
from broker.log import Stat
from broker.merge import merge_entries
from broker.notices import Notice
from broker.pages import SharedPage, share
from broker.position import START, Position
from broker.tail import Tail
from broker.tail_items import Batch, Live, Reset
from tests.unit.strategies import logs, text_deltas
from tests.unit.test_rows import rows_of

Replay = Literal["merged", "exact"]


class World:
    """A log that grows, and once may be forgotten from some entry on and be written anew; it is log, hub and hints."""

    def __init__(self, data: st.DataObject, histories: list[list[Entry]], page_size: int) -> None:
        self.data = data
        self.histories = histories
        """What the log is, and what it will be after the failover; the second may be missing."""
        self.written = [data.draw(st.integers(1, len(histories[0]))), 0]
        self.page_size = page_size
        self.now = 0
        self.steps = 0
        self.near: Callable[[], int] = lambda: 0
        """How many entries the reader has: hints of what lies there can do the most harm."""

    @property
    def log(self) -> list[Entry]:
        """What a read finds."""
        return self.histories[self.now][: self.written[self.now]]

    def step(self, hints: Hints) -> None:
        """Time passes: more is written, the server may forget, and hints of anything ever written come in."""
        self.steps += 1
        draw = self.data.draw
        whole = self.histories[self.now]
        growth = draw(st.integers(0, 4)) if self.steps < 30 else len(whole)
        self.written[self.now] = min(self.written[self.now] + growth, len(whole))
        if self.now + 1 < len(self.histories) and draw(st.integers(0, 3)) == 0:
            self.now += 1
            self.written[self.now] = draw(st.integers(1, len(self.histories[1])))
        for _ in range(draw(st.integers(0, 3))):
            notice = self.notice()
            for _ in range(draw(st.integers(1, 2))):
                hints.offer(notice)

    def notice(self) -> Notice:
        """Of any entries of one epoch that any history has had; or without them; or unreadable."""
        draw = self.data.draw
        whole = draw(st.sampled_from(self.histories[: self.now + 1]))
        whole = whole[: max(self.written[self.histories.index(whole)], 1)]
        first = draw(st.integers(0, len(whole) - 1) | st.integers(-2, 0).map(lambda n: self.near() + n))
        first = min(max(first, 0), len(whole) - 1)
        run = [entry for entry in whole[first : first + 4] if entry.position.epoch == whole[first].position.epoch]
        kind = draw(st.sampled_from(["entries"] * 6 + ["hint", "unreadable", "huge"]))
        if kind == "unreadable":
            return Notice(size=9)
        previous = whole[first - 1].position if first else START
        held = [] if kind == "hint" else run
        return Notice(held, run[-1].position, previous, BYTES_HELD + 1 if kind == "huge" else 10)

    async def stat(self, generation: str, *, tenant: str | None = None) -> Stat:
        """How it stands."""
        ended = isinstance(self.log[-1].event, TERMINAL_TYPES)
        return Stat("completed" if ended else "running", self.log[-1].position, ended, None, 1, log_exists=True)

    async def read(self, generation: str, start: Position, *, merge: bool) -> SharedPage:
        """What Redis would answer: from the position on, inclusive."""
        count = self.page_size + (start != START)
        rows = rows_of([entry for entry in self.log if entry.position >= start][:count])
        ended = isinstance(self.log[-1].event, TERMINAL_TYPES)
        return share(rows, start, merge=merge, full=len(rows) == count, log_ended=ended)

    @contextlib.asynccontextmanager
    async def subscribe(self, generation: str, *, frugal: bool = False) -> AsyncGenerator[Hints]:
        """Hints that come when they are waited for."""
        yield Steps(self)

    async def ready(self, generation: str) -> None:
        """At once."""


class Steps(Hints):
    """The real buffer; when its reader waits, the world takes a step. The hub's audit wakes whoever hears nothing."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    async def wait(self, timeout_s: float | None = None) -> list[Notice]:
        """What the hints are by now."""
        self.world.step(self)
        if not self.pending:
            self.need_page()
        return await super().wait(timeout_s)


def is_beginning(got: list[Entry], histories: list[list[Entry]]) -> bool:
    """Whether these entries are the beginning of one of the histories; merged events count as what they hold."""
    held = [(entry.event.merged or 1) if isinstance(entry.event, DELTA_TYPES) else 1 for entry in got]
    for history in histories:
        parts = [history[sum(held[:n]) : sum(held[: n + 1])] for n in range(len(held))]
        if all(merge_entries(part) == [entry] for part, entry in zip(parts, got, strict=True)):
            return True
    return False


class Watched(Tail):
    """A reader that can be asked how far it is."""

    def count(self) -> int:
        """How many entries it has."""
        return self._follower.position.seq


async def read(world: World, replay: Replay, after: Position, got: list[Entry]) -> None:
    """Read to the end; judge each item."""
    tail = Watched(
        cast("Any", world), cast("Any", world), cast("Any", world), "g", after, tenant=None, replay=replay, hold_s=1.0
    )
    world.near = tail.count
    lives = 0
    async for item in tail.items():
        match item:
            case Reset():
                got = []
            case Live():
                lives += 1
            case Batch():
                got = [*got, *item.entries]
                assert item.entries
                assert not item.live or lives
        assert is_beginning(got, world.histories)
    ended = [history for history in world.histories if is_beginning(got, [history]) and history[-1] == got[-1]]
    assert ended, "the tail ended before the log did"
    assert lives <= 1


@st.composite
def two_histories(draw: st.DrawFn) -> list[list[Entry]]:
    """A log, and how it went on after its tail was forgotten: under a later epoch, as after every new claim."""
    first = draw(logs(ended=True))
    if draw(st.booleans()):
        return [first]
    kept = first[: draw(st.integers(1, len(first)))]
    events = [*draw(st.lists(text_deltas, max_size=6)), first[-1].event]
    if isinstance(kept[-1].event, TERMINAL_TYPES):
        return [first]
    epoch = first[-1].position.epoch + 100
    return [first, [*kept, *(Entry(Position(epoch, len(kept) + n), e) for n, e in enumerate(events, 1))]]


@effort(max_examples=150, deadline=None)
@given(two_histories(), st.data(), st.sampled_from(["merged", "exact"]), st.integers(1, 6))
def test_read_3_a_reader_always_holds_the_beginning_of_a_log_and_reaches_its_end(
    histories: list[list[Entry]], data: st.DataObject, replay: Replay, page_size: int
) -> None:
    """Whatever the hints were; from the start, or from any entry that it has."""
    world = World(data, histories, page_size)
    at = data.draw(st.integers(0, len(world.log)))
    got = world.log[:at]
    asyncio.run(read(world, replay, got[-1].position if got else START, got))
