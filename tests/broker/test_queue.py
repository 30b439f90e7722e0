"""Taking from the queue: in order, once, and never held up by a mark that means nothing."""

from __future__ import annotations

import asyncio

from broker.keys import ARQ_IN_PROGRESS
from broker.queue import Taken
from tests.broker.store import Store

LEASE_MS = 10_000


async def _submitted(store: Store, number: int) -> list[str]:
    return [await store.submit() for _ in range(number)]


async def test_the_oldest_are_taken_first_and_once(store: Store) -> None:
    """As many as are wanted; whoever comes next gets the next ones, and is told whether there is more."""
    names = await _submitted(store, 5)
    first = await store.queue.take(2, hold_ms=LEASE_MS)
    second = await store.queue.take(2, hold_ms=LEASE_MS)
    third = await store.queue.take(2, hold_ms=LEASE_MS)
    assert first == Taken(names[:2], more=True, standing=5)
    assert second == Taken(names[2:4], more=True, standing=5)
    assert third == Taken(names[4:], more=False, standing=5)
    assert await store.queue.take(2, hold_ms=LEASE_MS) == Taken([], more=False, standing=5)


async def test_two_hundred_that_run_hide_none_that_waits(store: Store) -> None:
    """The look goes past them, chunk by chunk."""
    names = await _submitted(store, 230)
    await store.queue.hold(names[:-1], hold_ms=LEASE_MS)
    assert (await store.queue.take(9, hold_ms=LEASE_MS)).generations == names[-1:]


async def test_everybody_takes_at_once_and_nobody_gets_the_same(store: Store) -> None:
    """Twenty takers, a hundred jobs: each goes to one of them."""
    names = await _submitted(store, 100)
    shares = await asyncio.gather(*(store.queue.take(7, hold_ms=LEASE_MS) for _ in range(20)))
    assert sorted(name for taken in shares for name in taken.generations) == sorted(names)


async def test_a_bell_is_worth_one_job_at_most(store: Store) -> None:
    """For a job that stands there and that nobody runs; a bell that is late is worth nothing."""
    (name,) = await _submitted(store, 1)
    assert await store.queue.take(1, hold_ms=LEASE_MS, named="gen_gone") == Taken([], more=False, standing=1)
    assert (await store.queue.take(1, hold_ms=LEASE_MS, named=name)).generations == [name]
    assert (await store.queue.take(1, hold_ms=LEASE_MS, named=name)).generations == []
    await store.queue.remove(name)
    assert await store.queue.take(1, hold_ms=LEASE_MS, named=name) == Taken([], more=False, standing=0)


async def test_a_mark_lapses_with_its_lease(store: Store) -> None:
    """Its worker has died: the next one takes the job."""
    (name,) = await _submitted(store, 1)
    await store.queue.take(1, hold_ms=LEASE_MS)
    assert 0 < await store.raw.pttl(ARQ_IN_PROGRESS + name) <= LEASE_MS
    await store.raw.pexpire(ARQ_IN_PROGRESS + name, 0)
    assert (await store.queue.take(1, hold_ms=LEASE_MS)).generations == [name]


async def test_a_mark_that_a_leap_of_the_clock_made_endless_holds_nobody_up(store: Store) -> None:
    """It was set while the server's clock was ten minutes ahead, and then its worker died."""
    (name,) = await _submitted(store, 1)
    await store.queue.hold([name], hold_ms=600_000)
    assert (await store.queue.take(1, hold_ms=LEASE_MS)).generations == [name]
    assert 0 < await store.raw.pttl(ARQ_IN_PROGRESS + name) <= LEASE_MS
