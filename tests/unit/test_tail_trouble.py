"""What a reader is told when Redis is away, when nobody confirms its subscription, and when its log goes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest

from broker.channel import Hints
from broker.errors import GenerationNotFound, LogExpired, LogLost, LogUnavailable, RejoinderError
from broker.events import Completed, Entry, Event, TextDelta
from broker.log import Stat
from broker.pages import SharedPage, share
from broker.position import START, Position
from broker.tail import Tail
from broker.tail_items import Batch, TailItem
from tests.unit.test_rows import rows_of

ENTRIES = [Entry(Position(7, seq), event) for seq, event in enumerate([TextDelta(0, "a"), TextDelta(0, "b")], 1)]
END: Event = Completed("stop")


class Trouble:
    """A log and a hub: each read raises what is next in the plan, or gives the page that is."""

    def __init__(self, *plan: RejoinderError | list[Entry], confirms: bool = True) -> None:
        self.plan = list(plan)
        self.confirms = confirms
        self.left = 0
        self.counted = 0

    async def stat(self, generation: str, *, tenant: str | None = None) -> Stat:
        """It is there, unless the plan begins with something else."""
        if isinstance(self.plan[0], RejoinderError):
            raise self.plan.pop(0)  # pyright: ignore[reportGeneralTypeIssues]
        return Stat("running", START, ended=False, cancel_after_ms=1000, attempt=1, log_exists=True)

    async def read(self, generation: str, start: Position, *, merge: bool) -> SharedPage:
        """The next in the plan, from the position on."""
        planned = self.plan.pop(0)
        if isinstance(planned, RejoinderError):
            raise planned
        rows = rows_of([entry for entry in planned if entry.position >= start])
        return share(rows, start, merge=merge, full=False, log_ended=planned[-1].event is END)

    @contextlib.asynccontextmanager
    async def subscribe(self, generation: str, *, frugal: bool = False) -> AsyncGenerator[Hints]:
        """Hints that always say: read a page."""
        hints = Hints()
        asyncio.get_running_loop().call_soon(self._wake, hints)
        try:
            yield hints
        finally:
            self.left += 1

    def _wake(self, hints: Hints) -> None:
        hints.need_page()
        if not self.left:
            asyncio.get_running_loop().call_soon(self._wake, hints)

    async def ready(self, generation: str) -> None:
        """Confirmed, or never."""
        if not self.confirms:
            await asyncio.Event().wait()

    async def count_viewers(self, generation: str) -> None:
        """Somebody watches."""
        self.counted += 1

    async def items(self, hold_s: float) -> list[TailItem]:
        """All of it."""
        world = cast("Any", self)
        tail = Tail(world, world, world, "g", START, tenant=None, replay="exact", hold_s=hold_s)
        return [item async for item in tail.items()]


WHOLE = [*ENTRIES, Entry(Position(7, 3), END)]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.tail._BACK_OFF_S", (0.001, 0.002))
    monkeypatch.setattr("broker.tail._SUBSCRIBE_S", 0.02)


def got(items: list[TailItem]) -> list[Entry]:
    """The entries."""
    return [entry for item in items if isinstance(item, Batch) for entry in item.entries]


async def test_an_outage_within_the_hold_is_not_noticed() -> None:
    """At the first read and at a later one; more often than there are steps of the back-off."""
    away = [LogUnavailable() for _ in range(5)]
    world = Trouble(*away, ENTRIES, *away, WHOLE)
    assert got(await world.items(5.0)) == WHOLE
    assert world.plan == []
    assert world.left == 1


async def test_an_outage_beyond_the_hold_is_told() -> None:
    """Once the hold is over, and the subscription is given back."""
    world = Trouble(LogUnavailable(), WHOLE)
    with pytest.raises(LogUnavailable):
        await world.items(0.0)
    assert (world.plan, world.left) == ([WHOLE], 1)


async def test_a_subscription_that_nobody_confirms_is_an_outage() -> None:
    """The log is not even asked: what is read before the subscription stands may miss what comes after."""
    world = Trouble(WHOLE, confirms=False)
    with pytest.raises(LogUnavailable, match="no subscription"):
        await world.items(0.0)
    assert world.plan == [WHOLE]


@pytest.mark.parametrize("error", [GenerationNotFound, LogExpired])
async def test_at_the_first_read_the_log_says_what_it_is(error: type[RejoinderError]) -> None:
    """Not found or expired, as it is."""
    with pytest.raises(error):
        await Trouble(error()).items(1.0)


async def test_a_log_that_goes_under_its_reader_is_lost() -> None:
    """It was there a moment ago: that is no 404 and no end."""
    with pytest.raises(LogLost):
        await Trouble(ENTRIES, GenerationNotFound()).items(1.0)


async def test_a_reader_counts_as_a_viewer_while_the_log_goes_on() -> None:
    """Where the request wants to know; not of a log that has ended."""
    world = Trouble(ENTRIES, WHOLE)
    await world.items(1.0)
    assert world.counted == 1
