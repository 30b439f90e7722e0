"""Who ends a generation: writer, cancel or delete, in each order. Design decisions 8 and 9."""

from __future__ import annotations

from typing import Any

import pytest

from broker.errors import GenerationNotFound
from broker.events import TERMINAL_TYPES, Cancelled, Completed
from broker.scripts import Claim
from tests.broker.store import Store, Writer

DAY_MS = 86_400_000


async def running(store: Store, **fields: Any) -> Writer:
    """A writer that has said something."""
    writer = await store.own(await store.submit(**fields))
    await writer.begin()
    await writer.say("a")
    return writer


async def heard(store: Store, channel: str, step: Any) -> list[bytes]:
    """What this channel carries while a step runs."""
    pubsub = store.raw.pubsub()
    try:
        await pubsub.subscribe(channel)
        assert (await pubsub.get_message(timeout=5))["type"] == "subscribe"
        await step
        await store.raw.publish(channel, "that was all")
        found: list[bytes] = []
        while (data := (await pubsub.get_message(timeout=5))["data"]) != b"that was all":
            found.append(data)
        return found
    finally:
        await pubsub.aclose()


async def test_a_cancel_asks_the_owner_who_lives(store: Store) -> None:
    """The flag is durable and the workers are told at once; the log goes on until its owner ends it."""
    writer = await running(store)
    generation = writer.generation
    assert await heard(store, store.keys.control, store.jobs.cancel(generation, "client")) == [generation.encode()]
    assert (await store.records.get(generation)).status == "running"
    assert (await writer.say("b")).cancel == "client"
    assert await store.jobs.cancel(generation, "unwatched") == "asked"
    assert (await writer.append()).cancel == "client"


async def test_a_cancel_asked_for_survives_its_worker(store: Store) -> None:
    """Whoever claims next is told, before it calls a provider."""
    writer = await running(store)
    await store.jobs.cancel(writer.generation, "client")
    await store.log.release(writer.generation, writer.fence)
    claim = await store.claim(writer.generation, "b")
    assert isinstance(claim, Claim)
    assert claim.cancel == "client"


@pytest.mark.parametrize("lapsed", [True, False])
async def test_a_cancel_ends_what_nobody_runs(store: Store, lapsed: bool) -> None:
    """The lease lapsed or was handed back: the terminal entry has an epoch of its own, above the owner's."""
    writer = await running(store)
    generation = writer.generation
    if lapsed:
        await store.lapse(generation)
    else:
        await store.log.release(generation, writer.fence)
    assert await heard(store, store.keys.control, store.jobs.cancel(generation, "client")) == [generation.encode()]
    position, event = (await store.rows(generation))[-1]
    assert isinstance(event, Cancelled)
    assert int(position.split("-")[0]) > writer.fence.epoch
    assert {(await writer.say("b")).kind, (await writer.end()).kind} <= {"fenced", "ended"}
    assert (await store.rows(generation))[-1] == (position, event)
    assert await store.queue.contains([generation]) == [False]


async def test_who_comes_after_the_end_changes_nothing(store: Store) -> None:
    """Append, end, claim, cancel: each is told, and the log stays as it is."""
    writer = await running(store)
    generation = writer.generation
    assert (await writer.end("b")).kind == "ok"
    rows = await store.rows(generation)
    assert (await writer.say("late")).kind == "ended"
    assert (await writer.end("other", "words")).kind == "ended"
    assert (await writer.append()).kind == "ended"
    assert not isinstance(await store.claim(generation, "b"), Claim)
    assert await store.jobs.cancel(generation, "client") == "ended"
    assert await store.rows(generation) == rows
    assert sum(isinstance(event, TERMINAL_TYPES) for _, event in rows) == 1


async def test_a_delete_tells_the_viewers_how_it_ended(store: Store) -> None:
    """The terminal entry and then the erasure, on the channel; the owner's next word finds nothing."""
    writer = await running(store)
    generation = writer.generation
    channel = store.keys.channel(generation)
    said = await heard(store, channel, store.jobs.delete(generation, tenant="default"))
    assert len(said) == 2
    assert b"generation.cancelled" in said[0]
    assert b'"reason":"deleted"' in said[0]
    assert said[1] == b"D"
    assert (await writer.end()).kind == "gone"


async def test_a_delete_after_the_end_only_erases(store: Store) -> None:
    """No second terminal entry; a second delete finds nothing."""
    writer = await running(store)
    generation = writer.generation
    await writer.end()
    assert await heard(store, store.keys.channel(generation), store.jobs.delete(generation, tenant="default")) == [b"D"]
    with pytest.raises(GenerationNotFound):
        await store.jobs.delete(generation, tenant="default")
    assert await store.jobs.cancel(generation, "client") == "gone"


async def test_a_delete_erases_the_viewers_too(store: Store) -> None:
    """All four keys of the generation."""
    generation = await store.submit(on_disconnect={"cancel_after_s": 60})
    await store.scripts.watch(generation, "node-a", 15_000)
    keys = store.keys
    names = (keys.job(generation), keys.log(generation), keys.request(generation), keys.viewers(generation))
    assert await store.raw.exists(*names) == 4
    assert await store.jobs.delete(generation, tenant="default") == "cancelled"
    assert await store.raw.exists(*names) == 0


async def test_every_end_sets_the_same_lives(store: Store) -> None:
    """Completed, cancelled, lost: log and request live for the retention, the record a day longer."""
    done, stopped, lost = [await store.submit(retention_s=100) for _ in range(3)]
    assert (await (await store.own(done)).end()).kind == "ok"
    assert await store.jobs.cancel(stopped, "client") == "cancelled"
    await store.own(lost)
    await store.lapse(lost)
    await store.claim(lost, "b", max_attempts=1)
    for generation in (done, stopped, lost):
        assert (await store.records.get(generation)).ended
        for name in (store.keys.log(generation), store.keys.request(generation)):
            assert 90_000 < await store.raw.pttl(name) <= 100_000
        assert DAY_MS + 90_000 < await store.raw.pttl(store.keys.job(generation)) <= DAY_MS + 100_000


async def test_the_durations_are_those_of_the_times(store: Store) -> None:
    """Event, record and times agree: queue, first token, whole, and tokens over the time they took."""
    writer = await running(store)
    generation = writer.generation
    created = await store.jobs.now_ms() - 2_500
    at: dict[str, Any] = {"created_at": created, "started_at": created + 200, "first_token_at": created + 500}
    await store.raw.hset(store.keys.job(generation), mapping=at)
    await writer.end()
    _, event = (await store.rows(generation))[-1]
    record = await store.records.get(generation)
    assert isinstance(event, Completed)
    assert event.timing is not None
    assert event.timing == record.timing
    assert record.finished_at is not None
    duration = round(record.finished_at * 1000) - created
    assert (event.timing.queue_ms, event.timing.ttft_ms, event.timing.duration_ms) == (200, 500, duration)
    assert duration >= 2_500
    rate = 7 * 1000 / (duration - 500)
    assert event.timing.tokens_per_second == pytest.approx(rate, abs=0.006)


async def test_what_never_started_has_no_durations_but_its_own(store: Store) -> None:
    """Cancelled in the queue: null, not zero."""
    generation = await store.submit()
    await store.jobs.cancel(generation, "client")
    timing = (await store.records.get(generation)).timing
    assert timing is not None
    assert (timing.queue_ms, timing.ttft_ms, timing.tokens_per_second) == (None, None, None)
    assert timing.duration_ms is not None


async def test_a_viewers_lease_is_one_nodes_and_is_given_back(store: Store) -> None:
    """Two nodes watch: the last one's leaving starts the clock; who asks for nothing holds nothing."""
    generation = await store.submit(on_disconnect={"cancel_after_s": 5})
    await store.raw.hincrby(store.keys.job(generation), "created_at", -60_000)
    unwatched, limit = await store.scripts.watch(generation)
    assert unwatched >= 60_000
    assert limit == 5_000
    await store.scripts.watch(generation, "node-a", 15_000)
    await store.scripts.watch(generation, "node-b", 15_000)
    assert (await store.scripts.watch(generation, "node-a", 0))[0] == 0
    await store.raw.zadd(store.keys.viewers(generation), {"node-a": 1})
    assert (await store.scripts.watch(generation))[0] == 0
    await store.scripts.watch(generation, "node-b", 0)
    assert 0 <= (await store.scripts.watch(generation))[0] < 60_000
    assert await store.raw.pttl(store.keys.viewers(generation)) > 0


async def test_nobody_needs_to_watch_what_goes_on_alone(store: Store) -> None:
    """on_disconnect=continue, ended, unknown: -1, and no key is made."""
    alone, ended = await store.submit(), await store.submit(on_disconnect={"cancel_after_s": 5})
    await store.jobs.cancel(ended, "client")
    for generation in (alone, ended, "gen_nobody"):
        assert await store.scripts.watch(generation, "node-a", 15_000) == (-1, 0)
        assert not await store.raw.exists(store.keys.viewers(generation))
