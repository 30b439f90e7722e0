"""One read for all who ask for the same page, and none for a page that is known: but never an older one than asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar, cast

import pytest

from broker.errors import LogDamaged, LogUnavailable
from broker.events import Entry, TextDelta
from broker.pages import PAGE_ENTRIES, Pages, SharedPage
from broker.position import START, Position
from broker.rows import Row
from tests.support.waiting import wait_until
from tests.unit.test_rows import rows_of

T = TypeVar("T")


class SlowLog:
    """A log whose reads answer what it was when they were sent, when the test lets them."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.sent: list[Position] = []
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def rows(
        self, generation: str, start: Position, take: Callable[[list[Row], bool, bool], T], *, limit: int
    ) -> T:
        """From the position on, inclusive."""
        del generation
        length, error = self.length, self.error
        self.sent.append(start)
        await asyncio.sleep(0)
        await self.go.wait()
        if error is not None:
            raise error
        count = limit + (start != START)
        seqs = range(max(start.seq, 1), length + 1)[:count]
        rows = rows_of([Entry(Position(7, seq), TextDelta(0, "x")) for seq in seqs])
        return take(rows, len(rows) == count, False)


def pages_of(log: SlowLog, budget: int = 10**9) -> Pages:
    """The reads of a node."""
    return Pages(cast("Any", log), budget)


def ask(pages: Pages, position: Position = START, *, merge: bool = False) -> asyncio.Task[SharedPage]:
    """One reader."""
    return asyncio.ensure_future(pages.read("g", position, merge=merge))


async def test_readers_of_one_moment_share_one_read() -> None:
    """And one batch, so that it is encoded once."""
    log = SlowLog(5)
    pages = pages_of(log)
    asked = [ask(pages) for _ in range(10)]
    await wait_until(lambda: len(log.sent) == 1)
    log.go.set()
    first, *others = await asyncio.gather(*asked)
    assert first.last == Position(7, 5)
    # The first read was sent for the first reader; the others, who asked behind it, share the second.
    assert len({id(page) for page in others}) == 1
    assert len(log.sent) == 2


async def test_a_read_that_was_sent_before_the_asking_will_not_do() -> None:
    """Something may have been written in between; the reader would wait for a notice that it has had."""
    log = SlowLog(5)
    pages = pages_of(log)
    early = ask(pages)
    await wait_until(lambda: len(log.sent) == 1)
    log.length = 6
    late = ask(pages)
    await asyncio.sleep(0)
    log.go.set()
    assert (await early).last == Position(7, 5)
    assert (await late).last == Position(7, 6)


async def test_a_full_page_is_read_once() -> None:
    """Also by those who asked while it was on its way; merged and exact are two things."""
    log = SlowLog(PAGE_ENTRIES + 5)
    log.go.set()
    pages = pages_of(log)
    found = await asyncio.gather(*(pages.read("g", START, merge=True) for _ in range(10)))
    assert len({id(page) for page in found}) == 1
    assert found[0].full
    assert len(found[0].batch.entries) == 1
    exact = await pages.read("g", START, merge=False)
    assert len(exact.batch.entries) == PAGE_ENTRIES
    assert len(log.sent) == 2
    await pages.read("g", found[0].last, merge=True)
    await pages.read("g", found[0].last, merge=True)
    assert len(log.sent) == 4


async def test_what_is_kept_is_bounded_with_what_encoders_leave_in_it() -> None:
    """The longest unused goes first; a budget of 0 keeps nothing."""
    log = SlowLog(4 * PAGE_ENTRIES)
    log.go.set()
    pages = pages_of(log, budget=1_000_000)
    first = await pages.read("g", START, merge=False)
    light = pages.held
    assert 0 < light == first.weight
    first.batch.encoded["native"] = [b"x" * 600_000]
    second = await pages.read("g", first.last, merge=False)
    assert await pages.read("g", START, merge=False) is first
    assert pages.held <= 1_000_000
    assert await pages.read("g", first.last, merge=False) is not second
    nothing = pages_of(log, budget=0)
    await nothing.read("g", START, merge=False)
    assert nothing.held == 0


async def test_an_outage_is_told_to_all_who_waited_at_once() -> None:
    """One after the other they would wait for many timeouts."""
    log = SlowLog(5)
    log.error = LogUnavailable()
    pages = pages_of(log)
    asked = [ask(pages) for _ in range(5)]
    await wait_until(lambda: len(log.sent) == 1)
    log.go.set()
    told = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(error) for error in told] == [LogUnavailable] * 5
    assert len(log.sent) == 1


async def test_what_the_server_has_forgotten_is_handed_out_once_and_never_again() -> None:
    """A failover lost a stretch that a kept page holds: its reader is reset, and then reads what there is now."""
    log = SlowLog(PAGE_ENTRIES + 500)
    log.go.set()
    pages = pages_of(log)
    first = await pages.read("g", START, merge=True)
    assert first.full
    log.length = PAGE_ENTRIES - 300
    assert await pages.read("g", START, merge=True) is first
    assert (await pages.read("g", first.last, merge=True)).kind == "nothing"
    assert pages.held == 0
    again = await pages.read("g", START, merge=True)
    assert again.last == Position(7, PAGE_ENTRIES - 300)


@pytest.mark.parametrize("error", [LogDamaged("a hole")])
async def test_a_read_that_fails_is_tried_by_each_who_waited(error: Exception) -> None:
    """Nobody is told of somebody else's trouble, and nobody hangs."""
    log = SlowLog(5)
    log.error = error
    pages = pages_of(log)
    first, second = ask(pages), ask(pages)
    await wait_until(lambda: len(log.sent) == 1)
    log.error = None
    log.go.set()
    with pytest.raises(type(error)):
        await first
    assert (await second).last == Position(7, 5)


async def test_a_reader_that_goes_takes_nobody_with_it() -> None:
    """Whether it reads or waits."""
    log = SlowLog(5)
    pages = pages_of(log)
    asked = [ask(pages) for _ in range(3)]
    await wait_until(lambda: len(log.sent) == 1)
    asked[0].cancel()
    asked[1].cancel()
    log.go.set()
    assert (await asked[2]).last == Position(7, 5)
