"""What a failover may forget, and how the writer and the readers get over it: design decision 2."""

from __future__ import annotations

from typing import cast

import pytest

from broker.client import Broker
from broker.events import Entry, Event, TextDelta
from broker.follow import Follower
from broker.notices import Notice, parse_notice
from broker.position import Position
from broker.scripts import Claim, Fence
from tests.broker.store import Store, Writer
from tests.support.snapshot import Snapshot, restore, take
from tests.support.waiting import wait_until


async def remember(store: Store, generation: str) -> Snapshot:
    """How the generation stands now."""
    return await take(cast("Broker", store), generation)


async def forget(store: Store, generation: str, snapshot: Snapshot) -> None:
    """Everything since the snapshot is lost."""
    await restore(cast("Broker", store), generation, snapshot)


async def clock_passes(store: Store, epoch: int) -> None:
    """A failover takes longer than the millisecond of the last claim."""

    async def later() -> bool:
        return await store.jobs.now_ms() > epoch

    await wait_until(later)


async def started(store: Store) -> Writer:
    """A writer that has said that it started (seq 2)."""
    writer = await store.own(await store.submit())
    await writer.begin()
    return writer


async def test_a_lost_tail_is_behind_and_written_again_with_the_same_ids(store: Store) -> None:
    """The server says where it stands; the writer's next append restores every id, and the hash with them."""
    writer = await started(store)
    generation = writer.generation
    await writer.say("a")
    early = await remember(store, generation)
    await writer.say("b", "c")
    before = await store.rows(generation)
    await forget(store, generation, early)
    reply = await writer.append(TextDelta(0, "d"), first=6)
    assert (reply.kind, reply.top) == ("behind", Position(writer.fence.epoch, 3))
    assert len(await store.rows(generation)) == 3
    again = await writer.append(TextDelta(0, "b"), TextDelta(0, "c"), TextDelta(0, "d"), first=4)
    assert again.kind == "ok"
    rows = await store.rows(generation)
    assert rows[:-1] == before
    assert rows[-1] == (f"{writer.fence.epoch}-6", TextDelta(0, "d"))
    assert (await store.records.get(generation)).last_event_id == rows[-1][0]


async def test_an_end_behind_a_lost_tail_writes_nothing(store: Store) -> None:
    """The terminal entry never stands behind a hole; with the lost entries before it, it is taken."""
    writer = await started(store)
    generation = writer.generation
    early = await remember(store, generation)
    await writer.say("a")
    await forget(store, generation, early)
    reply = await writer.end("b")
    assert (reply.kind, reply.top) == ("behind", Position(writer.fence.epoch, 2))
    assert not (await store.records.get(generation)).ended
    assert (await writer.end("a", "b", first=3)).kind == "ok"
    assert [event.text for _, event in await store.rows(generation) if isinstance(event, TextDelta)] == ["a", "b"]


async def test_a_terminal_entry_that_was_lost_is_written_once_more(store: Store) -> None:
    """The failover forgot the end: the same end again closes the log again."""
    writer = await started(store)
    early = await remember(store, writer.generation)
    assert (await writer.end("a", first=3)).kind == "ok"
    before = [position for position, _ in await store.rows(writer.generation)]
    await forget(store, writer.generation, early)
    assert (await writer.end("a", first=3)).kind == "ok"
    assert [position for position, _ in await store.rows(writer.generation)] == before
    assert (await store.records.get(writer.generation)).status == "completed"


async def test_a_forgotten_claim_diverges_and_a_new_one_stands_above_it(store: Store) -> None:
    """Nothing is written under the forgotten epoch; the next claim's epoch is higher still."""
    generation = await store.submit()
    unclaimed = await remember(store, generation)
    writer = await store.own(generation)
    await writer.begin()
    await writer.say("a")
    await forget(store, generation, unclaimed)
    assert (await writer.say("b")).kind == "diverged"
    assert (await writer.end()).kind == "diverged"
    assert (await writer.append()).kind == "diverged"
    assert len(await store.rows(generation)) == 1
    await clock_passes(store, writer.fence.epoch)
    claim = await store.claim(generation, "a")
    assert isinstance(claim, Claim)
    assert claim.epoch > writer.fence.epoch
    assert (await writer.say("b")).kind == "fenced"


async def test_the_right_token_of_an_old_epoch_is_fenced(store: Store) -> None:
    """A release and a claim by the same owner: its appends from before are void."""
    writer = await started(store)
    assert await store.log.release(writer.generation, writer.fence)
    again = await store.own(writer.generation, writer.fence.owner)
    assert again.fence.epoch > writer.fence.epoch
    assert (await writer.say("old")).kind == "fenced"
    assert not await store.log.release(writer.generation, writer.fence)
    assert (await again.say("new")).kind == "ok"


async def test_a_reader_of_a_forgotten_history_is_reset(store: Store) -> None:
    """Waits while the tail may come back; reset as soon as another history stands at its place."""
    writer = await started(store)
    generation = writer.generation
    early = await remember(store, generation)
    await writer.say("a", "b")
    readers = [Follower(Position(writer.fence.epoch, seq)) for seq in (3, 4)]
    await forget(store, generation, early)
    for reader in readers:
        page, _ = await store.log.page(generation, reader.position)
        assert reader.on_page(page).kind == "ahead"
    await clock_passes(store, writer.fence.epoch)
    await store.lapse(generation)
    other = await store.own(generation, "b")
    await other.say("x", "y", "z")
    for reader in readers:
        page, _ = await store.log.page(generation, reader.position)
        assert reader.on_page(page).kind == "reset"


async def notices(store: Store, writer: Writer, *events: Event) -> list[Notice]:
    """What the channel carries for one append."""
    pubsub = store.raw.pubsub()
    try:
        await pubsub.subscribe(store.keys.channel(writer.generation))
        assert (await pubsub.get_message(timeout=5))["type"] == "subscribe"
        assert (await writer.append(*events)).kind == "ok"
        message = await pubsub.get_message(timeout=5)
        return [parse_notice(message["data"])] if message else []
    finally:
        await pubsub.aclose()


async def test_a_notice_carries_the_entries_and_what_stands_before_them(store: Store) -> None:
    """Byte-exact, whatever the text; `previous` is the entry in the log, of whatever epoch."""
    writer = await store.own(await store.submit())
    ((first, _),) = await store.rows(writer.generation)
    events = [TextDelta(0, "é\n7 🙂"), TextDelta(3, "")]
    (notice,) = await notices(store, writer, *events)
    epoch = writer.fence.epoch
    assert notice.entries == [Entry(Position(epoch, 2 + n), event) for n, event in enumerate(events)]
    assert str(notice.previous) == first
    assert notice.top == Position(epoch, 3)


async def test_a_large_append_is_announced_without_its_entries(store: Store) -> None:
    """64 KiB and more: only how far the log goes."""
    writer = await started(store)
    (notice,) = await notices(store, writer, TextDelta(0, "x" * 65_536))
    assert (notice.entries, notice.top) == ([], Position(writer.fence.epoch, 3))


async def test_a_retry_announces_only_what_is_new(store: Store) -> None:
    """Viewers have the rest already."""
    writer = await started(store)
    await writer.say("a")
    writer.next_seq -= 1
    (notice,) = await notices(store, writer, TextDelta(0, "a"), TextDelta(0, "b"))
    assert notice.entries == [Entry(Position(writer.fence.epoch, 4), TextDelta(0, "b"))]
    assert notice.previous == Position(writer.fence.epoch, 3)


@pytest.mark.parametrize("owner", ["a", "stranger"])
async def test_what_was_erased_stays_erased(store: Store, owner: str) -> None:
    """An append, an end and a release after the delete bring no key back."""
    writer = await started(store)
    generation = writer.generation
    writer.fence = Fence(owner, writer.fence.epoch)
    await store.jobs.delete(generation, tenant="default")
    assert (await writer.say("x")).kind == "gone"
    assert (await writer.end()).kind == "gone"
    assert not await store.log.release(generation, writer.fence)
    assert [key async for key in store.raw.scan_iter(match=f"*{generation}*")] == []


async def test_another_owner_of_the_same_epoch_is_fenced(store: Store) -> None:
    """Two claims within one millisecond, the first one forgotten: the token tells them apart."""
    writer = await started(store)
    other = Writer(store, writer.generation, Fence("b", writer.fence.epoch), writer.next_seq)
    assert (await other.say("b")).kind == "fenced"
    assert (await other.append()).kind == "fenced"
    assert (await other.end()).kind == "fenced"
    assert not await store.log.release(writer.generation, other.fence)
    assert (await writer.say("a")).kind == "ok"


async def test_behind_names_the_entry_that_stands_there(store: Store) -> None:
    """A tail lost down to the entry before the claim: its epoch is not the writer's."""
    writer = await store.own(await store.submit())
    claimed = await remember(store, writer.generation)
    await writer.begin()
    await writer.say("a")
    await forget(store, writer.generation, claimed)
    reply = await writer.say("b")
    ((first, _),) = await store.rows(writer.generation)
    assert reply.kind == "behind"
    assert str(reply.top) == first


async def test_a_later_attempt_does_not_change_when_it_started(store: Store) -> None:
    """Queue time is counted once: up to the first attempt."""
    writer = await started(store)
    await store.raw.hset(store.keys.job(writer.generation), "started_at", "12345")
    await store.log.release(writer.generation, writer.fence)
    await (await store.own(writer.generation, "b")).begin(2)
    assert (await store.records.get(writer.generation)).started_at == pytest.approx(12.345)
