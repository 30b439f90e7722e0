"""A submit may die between any two of its steps, and so may whoever runs it: every generation ends all the same."""
# pyright: reportPrivateUsage=false
# (whose turn it is to sweep, and how many ids one batch has, are nobody else's business)

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from broker.errors import InvalidRequest, LogUnavailable, QueueFull
from broker.events import Cancelled
from broker.jobs import JobStore
from broker.request import GenerationRequest
from broker.sweeper import _BATCH, LINGER_MS, SURE_S, Sweeper
from tests.broker.store import Store
from tests.conftest import MakeSettings


def wanted(**fields: Any) -> GenerationRequest:
    """A request."""
    return GenerationRequest.model_validate({"model": "demo/demo-1", "input": "x", **fields})


def sweeper(store: Store, ended: list[str] | None = None, node: str = "node") -> Sweeper:
    """A sweeper that notes what it ends."""
    noted: list[str] = [] if ended is None else ended

    async def note(generation: str) -> None:
        noted.append(generation)

    return Sweeper(store.redis, store.keys, store.scripts, store.queue, store.jobs, note, node)


class Crash(Exception):
    """The process is gone."""


async def _crash(*_args: object, **_kwargs: object) -> None:
    raise Crash


Cut = Callable[[Store, pytest.MonkeyPatch], None]


def before_the_index(store: Store, patch: pytest.MonkeyPatch) -> None:
    """Die with nothing but the reserved key."""
    patch.setattr(store.redis, "zadd", _crash)


def before_the_list(store: Store, patch: pytest.MonkeyPatch) -> None:
    """Die on the active index, not on the tenant's list."""
    patch.setattr(store.records, "note", _crash)


def before_the_commit(store: Store, patch: pytest.MonkeyPatch) -> None:
    """Die just before create.lua."""
    patch.setattr(store.scripts, "create", _crash)


def before_the_queue(store: Store, patch: pytest.MonkeyPatch) -> None:
    """Die committed."""
    patch.setattr(store.queue, "enqueue", _crash)


CUTS = [before_the_index, before_the_list, before_the_commit, before_the_queue]


async def crashed(store: Store, cut: Cut, request: GenerationRequest) -> str:
    """Submit, die at the cut; answers the id that was reserved."""
    with pytest.MonkeyPatch.context() as patch:
        cut(store, patch)
        with pytest.raises(Crash):
            await store.jobs.submit(request, tenant="a", idempotency_key="k")
    held = await store.redis.get(store.keys.idempotency("a", "k"))
    assert held is not None
    return held.decode().partition("\n")[0]


@pytest.mark.parametrize("cut", CUTS)
async def test_a_retry_with_the_key_goes_on_with_the_reserved_id(store: Store, cut: Cut) -> None:
    """Wherever it died, submit, sweep and retry make one generation: readable, listed and queued once."""
    generation = await crashed(store, cut, wanted())
    made = await store.jobs.submit(wanted(), tenant="a", idempotency_key="k")
    assert made.record.id == generation
    assert made.replayed
    await sweeper(store).sweep()
    assert await store.queue.length() == 1
    assert await store.queue.contains([generation]) == [True]
    assert [record.id for record in (await store.records.list(tenant="a")).records] == [generation]
    assert len(await store.rows(generation)) == 1


@pytest.mark.parametrize("cut", CUTS[:3])
async def test_what_was_never_committed_is_nothing(store: Store, cut: Cut, monkeypatch: pytest.MonkeyPatch) -> None:
    """No record, no place in the queue, and the sweeper forgets the id after its minute."""
    monkeypatch.setattr("broker.sweeper.SURE_S", 0.0)
    generation = await crashed(store, cut, wanted())
    own = sweeper(store)
    await own.sweep()
    assert await store.records.find(generation) is None
    assert (await store.records.list(tenant="a")).records == []
    assert await store.queue.length() == 0
    await store.raw.zadd(store.keys.active, {generation: await store.jobs.now_ms() - LINGER_MS}, xx=True)
    await own.sweep()
    assert await store.raw.zscore(store.keys.active, generation) is None


async def test_an_id_that_was_marked_and_then_committed_is_tended(store: Store) -> None:
    """The sweeper saw the id before its commit came: the mark must not hide a generation that runs."""
    generation = await crashed(store, before_the_commit, wanted())
    own = sweeper(store)
    await own.sweep()
    await store.jobs.submit(wanted(), tenant="a", idempotency_key="k")
    await store.queue.remove(generation)
    await own.sweep()
    assert await store.queue.contains([generation]) == [True]
    assert await store.raw.zscore(store.keys.active, generation) is not None


async def test_a_submit_without_a_server_is_refused_and_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit itself fails: the caller hears of it, no record stands."""

    async def away(*_args: object, **_kwargs: object) -> None:
        raise LogUnavailable

    monkeypatch.setattr(store.scripts, "create", away)
    with pytest.raises(LogUnavailable):
        await store.jobs.submit(wanted(), tenant="a")
    monkeypatch.undo()
    assert (await store.records.list(tenant="a")).records == []


async def test_a_full_queue_keeps_the_key_of_a_submit_that_may_have_been_accepted(
    store: Store, make_settings: MakeSettings
) -> None:
    """A retry that meets a full queue does not free the first caller's key."""
    generation = await crashed(store, before_the_commit, wanted())
    full = JobStore(store.redis, store.keys, store.scripts, store.queue, store.records, make_settings(max_queue=1))
    await store.submit()
    with pytest.raises(QueueFull):
        await full.submit(wanted(), tenant="a", idempotency_key="k")
    made = await store.jobs.submit(wanted(), tenant="a", idempotency_key="k")
    assert made.record.id == generation


async def test_an_owner_who_died_past_the_deadline_is_not_waited_for(store: Store) -> None:
    """The lease lapsed, no time is left: the sweeper ends it and the old owner is fenced."""
    ended: list[str] = []
    writer = await store.own(await store.submit())
    await writer.begin()
    await store.lapse(writer.generation)
    await store.raw.hset(store.keys.job(writer.generation), "deadline_at", "1")
    await sweeper(store, ended).sweep()
    assert ended == [writer.generation]
    assert isinstance((await store.rows(writer.generation))[-1][1], Cancelled)
    assert (await writer.say("late")).kind in ("fenced", "ended")


async def test_an_unwatched_generation_with_a_live_owner_is_the_owners_to_stop(store: Store) -> None:
    """The sweeper judges what waits; what runs is judged by who runs it."""
    ended: list[str] = []
    writer = await store.own(await store.submit(on_disconnect={"cancel_after_s": 5}))
    await store.raw.hincrby(store.keys.job(writer.generation), "created_at", -60_000)
    await sweeper(store, ended).sweep()
    assert ended == []
    assert (await writer.append()).cancel == ""
    await store.lapse(writer.generation)
    await sweeper(store, ended).sweep()
    assert ended == [writer.generation]


async def test_a_sweep_sees_every_id_also_while_it_removes_some(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """More ids than one batch, half of them to be forgotten: none is skipped."""
    monkeypatch.setattr("broker.sweeper.SURE_S", 0.0)
    now = await store.jobs.now_ms()
    old = {f"gen_{n:028d}": now - 2 * LINGER_MS for n in range(_BATCH + 100)}
    await store.raw.zadd(store.keys.active, {**old, **{f"gen_x{n:027d}": now for n in range(50)}})
    waiting = await store.submit()
    await store.queue.remove(waiting)
    await sweeper(store).sweep()
    assert await store.queue.contains([waiting]) == [True]
    assert await store.raw.zcard(store.keys.active) == 51


async def test_the_turn_passes_when_its_holder_is_silent(store: Store) -> None:
    """One node at a time; the turn has a TTL, so a dead node's turn ends by itself."""
    one, two = sweeper(store, node="one"), sweeper(store, node="two")
    assert [await one._my_turn(), await two._my_turn(), await one._my_turn()] == [True, False, True]
    assert 0 < await store.raw.pttl(store.keys.sweeper) <= 5_000
    await store.redis.delete(store.keys.sweeper)
    assert [await two._my_turn(), await one._my_turn()] == [True, False]


async def test_a_turn_that_a_leap_of_the_clock_made_endless_passes(store: Store) -> None:
    """Its holder died while the server's clock was ten minutes ahead: nobody waits these ten minutes."""
    one, two = sweeper(store, node="one"), sweeper(store, node="two")
    assert await one._my_turn()
    await store.redis.pexpire(store.keys.sweeper, 600_000)
    assert [await two._my_turn(), await one._my_turn()] == [True, False]
    assert 0 < await store.raw.pttl(store.keys.sweeper) <= 5_000


async def test_a_leap_of_the_clock_takes_nothing_off_the_index(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen ended a moment ago, and by the server's clock a minute: it stays until it is that by our own, too."""
    generation = await store.submit()
    own, clock = sweeper(store), 100.0
    monkeypatch.setattr(own, "_clock", lambda: clock)
    await store.jobs.cancel(generation, "client")
    await own.sweep()
    await store.raw.zadd(store.keys.active, {generation: await store.jobs.now_ms() - 2 * LINGER_MS}, xx=True)
    await own.sweep()
    assert await store.raw.zscore(store.keys.active, generation) is not None
    clock += SURE_S
    await own.sweep()
    assert await store.raw.zscore(store.keys.active, generation) is None


async def test_an_enqueue_twice_is_one_place_in_the_queue(store: Store) -> None:
    """Idempotent by the id; places are handed out in order, and never place 0."""
    first, second = await store.submit(), await store.submit()
    scores = [await store.raw.zscore(store.keys.queue, generation) for generation in (first, second)]
    assert not await store.queue.enqueue(first, life_ms=60_000)
    assert [await store.raw.zscore(store.keys.queue, generation) for generation in (first, second)] == scores
    assert 0 < scores[0] < scores[1]


@pytest.mark.parametrize("cursor", ["nonsense", "gen_", "gen_" + "é" * 28, "gen_" + "0" * 29, "+", "(gen_" + "0" * 28])
async def test_a_cursor_that_is_none_of_ours_is_refused(store: Store, cursor: str) -> None:
    """It names the field at fault."""
    with pytest.raises(InvalidRequest, match=re.escape("cursor")) as caught:
        await store.records.list(tenant="default", cursor=cursor)
    assert caught.value.field == "cursor"


async def test_pages_behind_a_filter_are_whole(store: Store) -> None:
    """One in four matches: every page but the last is full, each match comes once, in order."""
    made = sorted([await store.submit() for _ in range(13)], reverse=True)
    wanted_ids = made[::4]
    for generation in wanted_ids:
        await store.jobs.cancel(generation, "client")
    cursor: str | None = None
    pages: list[list[str]] = []
    while not pages or cursor is not None:
        page = await store.records.list(tenant="default", status="cancelled", limit=2, cursor=cursor)
        pages.append([record.id for record in page.records])
        cursor = page.next_cursor
    assert pages == [wanted_ids[:2], wanted_ids[2:]]
