"""Submits, deletes and sweeps whose ground moves under them, and the queue's small promises."""
# pyright: reportPrivateUsage=false
# (the trouble is made inside)

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from broker.errors import GenerationNotFound, LogUnavailable
from broker.hub import viewers_settle_s
from broker.jobs import ending_head
from broker.keys import ARQ_IN_PROGRESS
from broker.request import GenerationRequest
from broker.scripts import Claim, Creation, Scripts
from broker.sweeper import SLOW_S, Sweeper
from tests.broker.store import Store
from tests.broker.test_submit import sweeper, wanted
from tests.support.waiting import wait_until


@pytest.mark.parametrize("event", [b'{"type":"generation.cancelled"}', b'{"timing":null,"x":1}', b""])
def test_only_an_event_that_ends_in_its_timing_has_a_head(event: bytes) -> None:
    """Anything else would be written into the log as broken JSON."""
    with pytest.raises(ValueError, match="ends in its timing"):
        ending_head(event)


async def test_a_key_that_lapses_between_two_looks_is_reserved_anew(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was taken, and gone before it could be read: the submit goes on under its own id."""
    name = store.keys.idempotency("a", "k")
    await store.jobs.submit(wanted(), tenant="a", idempotency_key="k")
    get = store.redis.get

    async def lapse(asked: str) -> bytes | None:
        await store.raw.delete(asked)
        return await get(asked)

    monkeypatch.setattr(store.redis, "get", lapse)
    generation = "gen_" + "1" * 28
    assert await store.jobs._reserve(name, generation, wanted()) == generation
    monkeypatch.undo()
    assert (await store.raw.get(name)).startswith(generation.encode() + b"\n")


async def test_a_key_that_can_not_be_reserved_is_no_endless_loop(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken whenever it is asked for and never to be read: unavailable."""

    async def taken(*_args: object, **_how: object) -> None:
        return

    async def unread(_name: str) -> None:
        return

    monkeypatch.setattr(store.redis, "set", taken)
    monkeypatch.setattr(store.redis, "get", unread)
    with pytest.raises(LogUnavailable, match="could not be reserved"):
        await store.jobs.submit(wanted(), tenant="a", idempotency_key="k")


async def test_a_key_that_stands_for_another_is_not_forgotten(store: Store) -> None:
    """Who frees a key frees its own generation's only."""
    name = store.keys.idempotency("a", "k")
    made = await store.jobs.submit(wanted(), tenant="a", idempotency_key="k")
    await store.jobs._forget(name, "gen_" + "2" * 28)
    assert (await store.jobs.submit(wanted(), tenant="a", idempotency_key="k")).record.id == made.record.id
    await store.jobs._forget(name, made.record.id)
    assert await store.raw.get(name) is None


async def test_a_claim_says_what_was_asked_for(store: Store) -> None:
    """As it was given, until it is lost."""
    generation = await store.submit(temperature=0.5)
    claim = await store.claim(generation)
    assert isinstance(claim, Claim)
    assert GenerationRequest.model_validate_json(claim.request).temperature == 0.5
    await store.redis.delete(store.keys.request(generation))
    again = await store.claim(generation)
    assert isinstance(again, Claim)
    assert again.request == b""


async def test_of_two_deletes_one_finds_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have seen the record; the second one must not report that it erased anything."""
    generation = await store.submit()
    look = store.records.get

    async def late(name: str, *, tenant: str | None = None) -> object:
        record = await look(name, tenant=tenant)
        monkeypatch.undo()
        await store.jobs.delete(generation, tenant="default")
        return record

    monkeypatch.setattr(store.records, "get", late)
    with pytest.raises(GenerationNotFound):
        await store.jobs.delete(generation, tenant="default")


async def test_a_job_that_is_handed_back_can_be_taken_at_once(store: Store) -> None:
    """Its mark of being in progress goes, a bell rings for it, and bells that nobody hears do not pile up."""
    generation = await store.submit()
    await store.redis.delete(store.keys.doorbell)
    await store.raw.set(ARQ_IN_PROGRESS + generation, "1", px=60_000)
    await store.queue.hand_back(generation)
    assert await store.raw.get(ARQ_IN_PROGRESS + generation) is None
    assert await store.raw.lrange(store.keys.doorbell, 0, -1) == [generation.encode()]
    await store.raw.rpush(store.keys.doorbell, *range(1200))
    await store.queue.ring(generation)
    bells = await store.raw.lrange(store.keys.doorbell, 0, -1)
    assert (len(bells), bells[-1]) == (1000, generation.encode())


async def test_nothing_is_asked_about_no_job(store: Store) -> None:
    """And each that is asked about gets its own answer."""
    generation = await store.submit()
    assert await store.queue.contains([]) == []
    assert await store.queue.contains(["gen_nobody", generation]) == [False, True]


async def test_an_enqueued_job_is_enqueued_once(store: Store) -> None:
    """One place in the queue and one bell, however often it is asked for."""
    generation = await store.submit()
    await store.redis.delete(store.keys.doorbell)
    assert not await store.queue.enqueue(generation, life_ms=1000)
    assert await store.raw.llen(store.keys.doorbell) == 0
    await store.queue.remove(generation)
    assert await store.queue.enqueue(generation, life_ms=1000)
    assert await store.raw.llen(store.keys.doorbell) == 1


async def test_epochs_grow_though_the_clock_goes_back(store: Store) -> None:
    """The epoch in the log is ahead of the clock: claims and cancels still stand above it, each above the last."""
    generation = await store.submit()
    ahead = await store.jobs.now_ms() + 60_000
    await store.raw.hset(store.keys.job(generation), "epoch", ahead)
    first = await store.own(generation, "first")
    assert first.fence.epoch > ahead + 1
    await store.log.release(generation, first.fence)
    second = await store.own(generation, "second")
    assert second.fence.epoch > first.fence.epoch + 1
    await second.say("x")
    await store.log.release(generation, second.fence)
    assert await store.jobs.cancel(generation, "client") == "cancelled"
    places = [place for place, _ in await store.rows(generation)]
    top = second.fence.epoch
    assert places[1:] == [f"{top}-2", f"{top + 1}-3"]


class Rounds:
    """A sweeper's rounds, each of which takes some seconds by its clock, or fails."""

    def __init__(self, own: Sweeper, monkeypatch: pytest.MonkeyPatch) -> None:
        self.own = own
        self.now = 1000.0
        self.next: list[Any] = []
        monkeypatch.setattr("broker.sweeper.PERIOD_S", 0.001)
        monkeypatch.setattr(own, "_clock", lambda: self.now)
        monkeypatch.setattr(own, "_my_turn", self.turn)

    async def turn(self) -> bool:
        """What was planned."""
        planned = self.next.pop(0) if self.next else 0.0
        if isinstance(planned, Exception):
            raise planned
        self.now += planned
        return False

    async def run(self, *planned: Any) -> float:
        """These rounds, and one more; answers until when nobody is taken for unwatched."""
        self.next = [*planned]
        task = asyncio.get_running_loop().create_task(self.own.run())
        await wait_until(lambda: not self.next)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return self.own._settled_at


async def test_trouble_unsettles_the_sweeper(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A round that failed or hung: the viewers' nodes had that trouble too. A quick one changes nothing."""
    rounds = Rounds(sweeper(store), monkeypatch)
    assert await rounds.run(0.1, SLOW_S, 0.1) == 0.0
    assert await rounds.run(SLOW_S + 0.1, 0.1) == pytest.approx(rounds.now + viewers_settle_s(), abs=0.2)
    rounds.now += 500
    assert await rounds.run(LogUnavailable(), 0.0) == rounds.now + viewers_settle_s()


async def test_a_server_that_is_emptied_in_mid_submit_still_knows_of_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the index and the commit: what was committed after that is on the index all the same."""
    create = Scripts.create

    async def emptied(self: Scripts, generation: str, creation: Creation) -> tuple[bool, int]:
        await store.redis.delete(store.keys.active)
        return await create(self, generation, creation)

    monkeypatch.setattr(Scripts, "create", emptied)
    generation = await store.submit()
    assert await store.raw.zscore(store.keys.active, generation) == 0
