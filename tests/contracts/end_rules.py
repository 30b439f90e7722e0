"""The half of the broker's contract that is about ends: cancel, delete, wait, and what the record says afterwards."""

from __future__ import annotations

import asyncio

import pytest

from broker.errors import GenerationNotFound, LogExpired, LogLost
from broker.events import TERMINAL_TYPES, Cancelled, Completed, Entry, Failed
from broker.record import Record
from broker.tail_items import Batch, Live, TailItem
from tests.contracts.stage import TENANT, Stage, all_ways, assert_dense, entries, said


class EndRules:
    """Rules for how generations end; a part of :class:`tests.contracts.broker.BrokerContract`."""

    async def test_cancel_ends_a_running_generation_once(self, stage: Stage) -> None:
        """However often it is asked for; what was said stays."""
        generation = await stage.started(stage.long())
        for _ in range(3):
            await stage.door.cancel(generation, tenant=TENANT)
        record = await stage.door.wait(generation, 10, tenant=TENANT)
        again = await stage.door.cancel(generation, tenant=TENANT)
        assert (record.status, again) == ("cancelled", record)
        log = entries(await stage.read(generation))
        assert_dense(log)
        assert isinstance(log[-1].event, Cancelled)
        assert log[-1].event.reason == "client"
        assert record.output is not None
        assert record.output.text == said(log).text != ""

    async def test_cancel_changes_nothing_that_has_ended(self, stage: Stage) -> None:
        """The first terminal event wins."""
        for request in (stage.short(), stage.failing()):
            generation = await stage.finished(request)
            before = await stage.door.get(generation, tenant=TENANT)
            assert await stage.door.cancel(generation, tenant=TENANT) == before
            assert before.status in ("completed", "failed")

    async def test_delete_tells_the_viewers_and_erases(self, stage: Stage) -> None:
        """A live viewer sees the end; afterwards nobody finds anything, by no method, and no list shows it."""
        generation = await stage.started(stage.long())
        other = (await stage.submit(stage.short())).record.id
        live = asyncio.Event()

        def look(item: TailItem) -> bool:
            if isinstance(item, Batch) and item.live:
                live.set()
            return False

        reading = asyncio.ensure_future(stage.read(generation, until=look))
        await live.wait()
        await stage.door.delete(generation, tenant=TENANT)
        last = entries(await reading)[-1].event
        assert isinstance(last, Cancelled)
        assert last.reason == "deleted"
        for attempt in all_ways(stage.door, generation, TENANT):
            with pytest.raises(GenerationNotFound):
                await attempt()
        assert [record.id for record in (await stage.door.list(tenant=TENANT)).records] == [other]

    async def test_delete_frees_the_key(self, stage: Stage) -> None:
        """Whether it had ended or not, and for any value."""
        for request in (stage.short(), stage.long()):
            made = await stage.submit(request, idempotency_key="k")
            await stage.door.delete(made.record.id, tenant=TENANT)
            again = await stage.submit(stage.failing(), idempotency_key="k")
            assert not again.replayed
            assert again.record.id != made.record.id
            await stage.door.delete(again.record.id, tenant=TENANT)

    async def test_wait_returns_at_the_end(self, stage: Stage) -> None:
        """Of a generation that ends by itself, of one that is cancelled, and at once of one that has ended."""
        made = await stage.submit(stage.short())
        record = await stage.door.wait(made.record.id, 20, tenant=TENANT)
        assert record.status == "completed"
        assert await stage.door.wait(made.record.id, 20, tenant=TENANT) == record
        generation = await stage.started(stage.long())
        waiting = asyncio.ensure_future(stage.door.wait(generation, 20, tenant=TENANT))
        await stage.door.cancel(generation, tenant=TENANT)
        assert (await waiting).status == "cancelled"

    async def test_wait_returns_when_its_time_is_up(self, stage: Stage) -> None:
        """With the record as it stands; the generation goes on."""
        generation = await stage.started(stage.long())
        record = await stage.door.wait(generation, 0.05, tenant=TENANT)
        assert record.status == "running"
        assert record.output is not None
        assert record.output.text != ""

    # -- the record -----------------------------------------------------------------------------------------------

    async def test_the_record_says_what_the_log_says(self, stage: Stage) -> None:
        """Status, last id, attempt, answer and all that the terminal event tells."""
        for request in (stage.short(), stage.failing(), stage.restarting(), stage.long()):
            made = await stage.submit(request)
            await stage.door.wait(made.record.id, 0.3 if request == stage.long() else 10, tenant=TENANT)
            record = await stage.door.cancel(made.record.id, tenant=TENANT)
            record = await stage.door.wait(made.record.id, 10, tenant=TENANT)
            assert_folds(record, entries(await stage.read(made.record.id)))

    async def test_the_record_of_a_running_generation_is_a_moment_of_its_log(self, stage: Stage) -> None:
        """Its output is that of the log up to its last id, no more and no less."""
        generation = await stage.started(stage.long())
        record = await stage.door.get(generation, tenant=TENANT)
        items = await stage.read(generation, until=lambda item: isinstance(item, Live))
        upto = [entry for entry in entries(items) if entry.position.seq <= int(str(record.last_event_id).split("-")[1])]
        assert str(upto[-1].position) == record.last_event_id
        assert record.output is not None
        assert record.output.text == said(upto).text
        assert (await stage.door.get(generation, tenant=TENANT, output=False)).output is None

    async def test_stat_says_where_the_log_stands(self, stage: Stage) -> None:
        """Its last position, and whether that is its end."""
        generation = await stage.finished(stage.short())
        stat = await stage.door.stat(generation, tenant=TENANT)
        assert (stat.top, stat.ended) == (entries(await stage.read(generation))[-1].position, True)
        assert not (await stage.door.stat(await stage.started(stage.long()), tenant=TENANT)).ended

    # -- what goes ------------------------------------------------------------------------------------------------

    async def test_past_its_retention_only_the_record_is_left(self, stage: Stage) -> None:
        """Without its output; the events are expired, for a reader and for who asks where they stand."""
        generation = await stage.finished(stage.short())
        before = await stage.door.get(generation, tenant=TENANT)
        await stage.expire(generation)
        after = await stage.door.get(generation, tenant=TENANT)
        assert after.output is None
        assert (after.status, after.usage, after.last_event_id) == (before.status, before.usage, before.last_event_id)
        assert (await stage.door.wait(generation, 5, tenant=TENANT)) == after
        with pytest.raises(LogExpired):
            await stage.door.stat(generation, tenant=TENANT)
        with pytest.raises(LogExpired):
            await stage.read(generation)

    async def test_a_log_that_is_lost_is_no_end(self, stage: Stage) -> None:
        """A live reader is told of the loss; later ones find nothing."""
        generation = await stage.started(stage.long())
        live = asyncio.Event()

        def look(item: TailItem) -> bool:
            if isinstance(item, Live):
                live.set()
            return False

        reading = asyncio.ensure_future(stage.read(generation, until=look))
        await live.wait()
        await stage.lose(generation)
        with pytest.raises(LogLost):
            await asyncio.wait_for(reading, 5)
        for attempt in all_ways(stage.door, generation, TENANT):
            with pytest.raises(GenerationNotFound):
                await attempt()


def assert_folds(record: Record, log: list[Entry]) -> None:
    """The record is what the whole log comes to."""
    position, end = log[-1]
    assert isinstance(end, TERMINAL_TYPES)
    answer = said(log)
    statuses = {Completed: "completed", Failed: "failed", Cancelled: "cancelled"}
    assert record.status == statuses[type(end)]
    assert record.last_event_id == str(position)
    assert record.attempt == answer.attempt
    assert record.output is not None
    assert record.output.text == answer.text
    assert record.output.reasoning == answer.reasoning
    assert [(c.call_id, c.name, c.arguments, c.complete) for c in record.output.tool_calls] == answer.tools
    assert (record.usage, record.timing) == (end.usage, end.timing)
    assert record.error == (end.error if isinstance(end, Failed) else None)
    assert record.finish_reason == (end.finish_reason if isinstance(end, Completed) else None)
    times = [record.created_at, record.started_at, record.first_token_at, record.finished_at]
    there = [time for time in times if time is not None]
    assert there == sorted(there)
    assert record.finished_at is not None
