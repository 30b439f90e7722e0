"""Submit, cancel, delete, lists and the sweeper: design decisions 5, 8, 9 and 12."""

# Our tests look inside on purpose.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import asyncio
from typing import Any

import pytest

from broker.client import Broker
from broker.errors import GenerationNotFound, IdempotencyConflict, InvalidRequest, LogUnavailable, QueueFull
from broker.events import Cancelled
from broker.jobs import JobStore
from broker.request import GenerationRequest
from broker.sweeper import LINGER_MS, Sweeper
from tests.broker.store import Store
from tests.conftest import MakeSettings


def wanted(**fields: Any) -> GenerationRequest:
    """A request."""
    return GenerationRequest.model_validate({"model": "demo/demo-1", "input": "x", **fields})


def sweeper(store: Store, ended: list[str] | None = None) -> Sweeper:
    """A sweeper that notes what it ends."""

    async def note(generation: str) -> None:
        (ended if ended is not None else []).append(generation)

    return Sweeper(store.redis, store.keys, store.scripts, store.queue, store.jobs, note, "node")


async def test_a_key_stands_for_one_generation(store: Store) -> None:
    """Same key and same value: the same; in whatever order its members stand. Another value: a conflict."""
    first = await store.jobs.submit(wanted(temperature=1, top_p=0.5), tenant="a", idempotency_key="k")
    same = GenerationRequest.model_validate({"top_p": 0.5, "input": "x", "temperature": 1.0, "model": "demo/demo-1"})
    second = await store.jobs.submit(same, tenant="a", idempotency_key="k")
    other = await store.jobs.submit(wanted(), tenant="b", idempotency_key="k")
    assert (first.replayed, second.replayed, other.replayed) == (False, True, False)
    assert first.record.id == second.record.id != other.record.id
    with pytest.raises(IdempotencyConflict):
        await store.jobs.submit(wanted(temperature=0.5), tenant="a", idempotency_key="k")


async def test_concurrent_submits_with_one_key_make_one_generation(store: Store) -> None:
    """Whoever comes second gets the first's."""
    made = await asyncio.gather(*(store.jobs.submit(wanted(), tenant="a", idempotency_key="k") for _ in range(8)))
    assert len({submitted.record.id for submitted in made}) == 1
    assert await store.queue.length() == 1


async def test_a_submit_that_died_half_way_is_taken_up_by_its_retry(store: Store) -> None:
    """The key was reserved and nothing else done: the retry finishes under the reserved id."""
    request = wanted()
    generation = "gen_" + "0" * 28
    owner = await store.jobs._reserve(store.keys.idempotency("a", "k"), generation, request)
    made = await store.jobs.submit(request, tenant="a", idempotency_key="k")
    assert owner == generation == made.record.id
    assert await store.queue.contains([generation]) == [True]


async def test_a_full_queue_frees_the_key(store: Store, make_settings: MakeSettings) -> None:
    """503 queue_full; the same key works once there is room."""
    full = JobStore(store.redis, store.keys, store.scripts, store.queue, store.records, make_settings(max_queue=1))
    made = await full.submit(wanted(), tenant="a")
    with pytest.raises(QueueFull):
        await full.submit(wanted(), tenant="a", idempotency_key="k")
    await full.delete(made.record.id, tenant="a")
    assert not (await full.submit(wanted(), tenant="a", idempotency_key="k")).replayed


async def test_what_is_committed_and_not_queued_is_queued_by_the_sweeper(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An enqueue that fails after the commit is still accepted."""

    async def away(*_args: object, **_kwargs: object) -> bool:
        raise LogUnavailable

    monkeypatch.setattr(store.queue, "enqueue", away)
    made = await store.jobs.submit(wanted(), tenant="a")
    assert await store.queue.contains([made.record.id]) == [False]
    monkeypatch.undo()
    await sweeper(store).sweep()
    assert await store.queue.contains([made.record.id]) == [True]


async def test_the_sweeper_ends_what_has_no_time_left(store: Store) -> None:
    """A deadline that passed while nobody ran it; an owner who lives is asked, not overruled."""
    ended: list[str] = []
    queued, owned = await store.submit(), await store.submit()
    writer = await store.own(owned)
    for generation in (queued, owned):
        await store.raw.hset(store.keys.job(generation), "deadline_at", "1")
    await sweeper(store, ended).sweep()
    assert ended == [queued]
    _, event = (await store.rows(queued))[-1]
    assert isinstance(event, Cancelled)
    assert event.reason == "deadline"
    assert (await writer.append()).cancel == "deadline"


async def test_the_sweeper_ends_what_nobody_watches(store: Store) -> None:
    """Counted from submit while it waits in the queue; a viewer's lease holds it."""
    ended: list[str] = []
    alone = await store.submit(on_disconnect={"cancel_after_s": 100})
    watched = await store.submit(on_disconnect={"cancel_after_s": 100})
    for generation in (alone, watched):
        await store.raw.hincrby(store.keys.job(generation), "created_at", -200_000)
    assert await store.scripts.watch(watched, "node-a", 15_000) == (0, 100_000)
    await sweeper(store, ended).sweep()
    assert ended == [alone]
    unwatched, _ = await store.scripts.watch(watched, "node-a", 0)
    assert unwatched < 10_000


async def test_the_index_forgets_what_has_ended_after_a_minute(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before: a submit may still hang between two of its steps."""
    monkeypatch.setattr("broker.sweeper.SURE_S", 0.0)
    generation = await store.submit()
    await store.jobs.cancel(generation, "client")
    own = sweeper(store)
    await own.sweep()
    score = await store.raw.zscore(store.keys.active, generation)
    await own.sweep()
    assert await store.raw.zscore(store.keys.active, generation) == score > 0
    await store.raw.zadd(store.keys.active, {generation: score - LINGER_MS})
    await own.sweep()
    assert await store.raw.zscore(store.keys.active, generation) is None


async def test_a_queued_generation_is_cancelled_on_the_spot(store: Store) -> None:
    """No worker is needed; it leaves the queue; a second cancel finds it ended."""
    generation = await store.submit()
    assert await store.jobs.cancel(generation, "client") == "cancelled"
    assert await store.queue.contains([generation]) == [False]
    assert await store.jobs.cancel(generation, "client") == "ended"
    assert await store.jobs.cancel("gen_nobody", "client") == "gone"


async def test_delete_erases_and_frees_the_key(store: Store) -> None:
    """All keys, the list, the queue and the Idempotency-Key; only for its own tenant."""
    made = await store.jobs.submit(wanted(), tenant="a", idempotency_key="k")
    generation = made.record.id
    with pytest.raises(GenerationNotFound):
        await store.jobs.delete(generation, tenant="b")
    await store.jobs.delete(generation, tenant="a")
    left = [key async for key in store.raw.scan_iter(match=f"*{generation}*")]
    assert left == []
    assert (await store.records.list(tenant="a")).records == []
    assert not (await store.jobs.submit(wanted(), tenant="a", idempotency_key="k")).replayed


async def test_lists_are_exact_while_new_ones_arrive(store: Store) -> None:
    """Newest first, page by page, each once; other tenants' never; erased ones vanish."""
    made = [(await store.jobs.submit(wanted(), tenant="a")).record.id for _ in range(7)]
    made.sort(reverse=True)
    await store.jobs.submit(wanted(), tenant="b")
    await store.redis.delete(store.keys.job(made[3]))
    found: list[str] = []
    cursor: str | None = None
    for _ in range(9):
        page = await store.records.list(tenant="a", limit=2, cursor=cursor)
        found += [record.id for record in page.records]
        cursor = page.next_cursor
        await store.jobs.submit(wanted(), tenant="a")
        if cursor is None:
            break
    assert found == [generation for generation in made if generation != made[3]]
    await store.jobs.cancel(made[0], "client")
    cancelled = await store.records.list(tenant="a", status="cancelled")
    assert [record.id for record in cancelled.records] == [made[0]]
    with pytest.raises(InvalidRequest):
        await store.records.list(tenant="a", cursor="nonsense")


async def test_one_sweeper_at_a_time(broker: Broker) -> None:
    """The turn is one node's until it stops taking it."""
    store = Store.on(broker.redis, broker.settings)
    one, two = sweeper(store), sweeper(store)
    two._node = "other"
    await store.redis.delete(store.keys.sweeper)
    turns = [await one._my_turn(), await two._my_turn(), await one._my_turn()]
    assert turns in ([True, False, True], [False, False, False])
