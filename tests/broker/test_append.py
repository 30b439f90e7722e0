"""Compare-and-append: docs/adr/0002."""

from __future__ import annotations

from broker.events import Cancelled, Completed, TextDelta
from tests.broker.store import LEASE_MS, Store


async def texts(store: Store, generation: str) -> list[str]:
    """What the log says, an entry each."""
    return [event.text for _, event in await store.rows(generation) if isinstance(event, TextDelta)]


async def test_entries_are_dense_and_carry_their_epoch(store: Store) -> None:
    """1, 2, 3 …; the hash knows the end of the stream."""
    generation = await store.submit()
    writer = await store.own(generation)
    await writer.begin()
    assert (await writer.say("a", "b")).kind == "ok"
    rows = await store.rows(generation)
    assert [int(position.split("-")[1]) for position, _ in rows] == [1, 2, 3, 4]
    assert {position.split("-")[0] for position, _ in rows[1:]} == {str(writer.fence.epoch)}
    assert (await store.records.get(generation)).last_event_id == rows[-1][0]


async def test_a_lost_reply_does_no_harm(store: Store) -> None:
    """The same append again, and one that overlaps: each entry stands once."""
    generation = await store.submit()
    writer = await store.own(generation)
    await writer.begin()
    await writer.say("a", "b")
    assert (await writer.append(TextDelta(0, "a"), TextDelta(0, "b"), first=3)).kind == "ok"
    assert (await writer.append(TextDelta(0, "b"), TextDelta(0, "c"), first=4)).kind == "ok"
    assert await texts(store, generation) == ["a", "b", "c"]


async def test_a_fenced_writer_never_writes_again(store: Store) -> None:
    """Not with an old token, and not with the right token of an old epoch."""
    generation = await store.submit()
    old = await store.own(generation, "a")
    await old.begin()
    await store.lapse(generation)
    new = await store.own(generation, "b")
    await new.begin(2)
    assert (await old.say("zombie")).kind == "fenced"
    assert (await old.end("zombie")).kind == "fenced"
    assert (await old.append()).kind == "fenced"
    assert (await new.say("fine")).kind == "ok"
    assert await texts(store, generation) == ["fine"]


async def test_a_hole_is_refused(store: Store) -> None:
    """Behind: the server says where it stands, and writes nothing."""
    generation = await store.submit()
    writer = await store.own(generation)
    await writer.begin()
    reply = await writer.append(TextDelta(0, "later"), first=9)
    assert (reply.kind, reply.top and reply.top.seq) == ("behind", 2)
    assert await texts(store, generation) == []


async def test_a_server_that_forgot_the_claim_is_told_apart(store: Store) -> None:
    """Diverged: its epoch is below the writer's."""
    generation = await store.submit()
    writer = await store.own(generation)
    epoch = str(writer.fence.epoch - 1)
    await store.raw.hset(store.keys.job(generation), mapping={"owner": "somebody", "epoch": epoch})
    assert (await writer.begin()).kind == "diverged"


async def test_a_log_that_is_gone_is_not_made_anew(store: Store) -> None:
    """Gone: with its hash, and with the stream alone."""
    generation = await store.submit()
    writer = await store.own(generation)
    await store.redis.delete(store.keys.log(generation))
    assert (await writer.begin()).kind == "gone"
    await store.redis.delete(store.keys.job(generation))
    assert (await writer.begin()).kind == "gone"
    assert not await store.raw.exists(store.keys.log(generation))


async def test_an_empty_append_renews_the_lease_and_hears_the_cancel(store: Store) -> None:
    """The heartbeat of a quiet generation."""
    generation = await store.submit()
    writer = await store.own(generation)
    assert (await writer.append()).cancel == ""
    await store.jobs.cancel(generation, "client")
    await store.lapse(generation)
    assert (await writer.append()).cancel == "client"
    assert int((await store.hash(generation))["lease_until"]) > LEASE_MS


async def test_status_and_times_come_with_the_entry(store: Store) -> None:
    """Started makes it running; the first token has its time; a restart forgets that time."""
    generation = await store.submit()
    writer = await store.own(generation)
    assert (await store.records.get(generation)).status == "queued"
    await writer.begin()
    running = await store.records.get(generation)
    assert (running.status, running.first_token_at) == ("running", None)
    assert running.started_at is not None
    await writer.say("a")
    assert (await store.records.get(generation)).first_token_at is not None
    await store.lapse(generation)
    await (await store.own(generation, "b")).begin(2)
    assert (await store.records.get(generation)).first_token_at is None


async def test_the_end_takes_the_last_words_with_it(store: Store) -> None:
    """One step: rest, terminal event, status, usage, timing, TTLs."""
    generation = await store.submit(retention_s=100)
    writer = await store.own(generation)
    await writer.begin()
    await writer.say("a")
    assert (await writer.end("b", "c")).kind == "ok"
    position, event = (await store.rows(generation))[-1]
    assert isinstance(event, Completed)
    record = await store.records.get(generation)
    assert (record.status, record.last_event_id, record.finish_reason) == ("completed", position, "stop")
    assert record.timing == event.timing
    assert record.timing is not None
    assert record.timing.duration_ms is not None
    assert record.usage is not None
    assert record.usage.output_tokens == 7
    assert 0 < await store.raw.pttl(store.keys.log(generation)) <= 100_000
    assert 0 < await store.raw.pttl(store.keys.request(generation)) <= 100_000
    assert 100_000 < await store.raw.pttl(store.keys.job(generation)) <= 100_000 + 86_400_000


async def test_an_end_whose_reply_was_lost_may_be_said_again(store: Store) -> None:
    """It is still one terminal event, and still ours."""
    generation = await store.submit()
    writer = await store.own(generation)
    await writer.begin()
    assert (await writer.end("a", first=3)).kind == "ok"
    assert (await writer.end("a", first=3)).kind == "ok"
    assert len(await store.rows(generation)) == 4
    assert (await writer.say("late")).kind == "ended"


async def test_the_first_terminal_entry_wins(store: Store) -> None:
    """A cancel that ended the log keeps the writer out; a log that ended keeps the cancel out."""
    first = await store.submit()
    writer = await store.own(first)
    await writer.begin()
    await store.lapse(first)
    assert await store.jobs.cancel(first, "client") == "cancelled"
    assert (await writer.end("x")).kind in ("ended", "fenced")
    assert isinstance((await store.rows(first))[-1][1], Cancelled)
    second = await store.submit()
    writer = await store.own(second)
    await writer.begin()
    await writer.end()
    assert await store.jobs.cancel(second, "client") == "ended"
    assert isinstance((await store.rows(second))[-1][1], Completed)
