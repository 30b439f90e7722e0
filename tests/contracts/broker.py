"""What every implementation of the broker's door owes its callers, as a suite: subclass it and give it a ``stage``.

The door is the public surface of ``broker.client.Broker``, written down as the Protocol ``api.door.Door``.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

import pytest

from broker.errors import GenerationNotFound, IdempotencyConflict, InvalidRequest
from broker.events import Created
from broker.record import Record
from tests.contracts.end_rules import EndRules
from tests.contracts.stage import STRANGER, TENANT, Stage, all_ways, claims_all, entries
from tests.contracts.tail_rules import TailRules
from tests.support.waiting import wait_until

NOBODY = "gen_" + "0" * 28


class BrokerContract(TailRules, EndRules):
    """The suite. A subclass offers the fixture ``stage``: see :class:`tests.contracts.reading.Stage`."""

    exceptions: ClassVar[dict[str, str]] = {}
    """Rules that this implementation does not claim to keep: test name -> reason."""

    @pytest.fixture(autouse=True)
    def _exceptions(self, request: pytest.FixtureRequest) -> None:
        claims_all(request, self.exceptions)

    # -- submit ---------------------------------------------------------------------------------------------------

    async def test_submit_answers_with_the_record(self, stage: Stage) -> None:
        """Committed, under an id of its own, with what was asked for and nothing said yet or little."""
        made = [await stage.submit(stage.short(metadata={"a": "b"})) for _ in range(2)]
        record = made[0].record
        assert made[0].record.id != made[1].record.id
        assert not made[0].replayed
        assert record.model == stage.short().model
        assert record.metadata == {"a": "b"}
        assert record.links.self.endswith(record.id)
        assert record.created_at > 0
        assert record.output is not None

    async def test_the_log_begins_with_what_submit_answered(self, stage: Stage) -> None:
        """Entry 1 is generation.created and holds the record as it was, whoever looks and whenever."""
        made = await stage.submit(stage.short())
        first = entries(await stage.read(made.record.id))[0]
        assert isinstance(first.event, Created)
        assert first.event.generation["id"] == made.record.id
        assert first.event.generation["status"] == "queued"
        assert first.event.generation["created_at"] == made.record.created_at
        assert first.event.generation["last_event_id"] == str(first.position)

    async def test_a_key_stands_for_one_generation(self, stage: Stage) -> None:
        """Same tenant, key and JSON value: the same one, whatever the order of its members."""
        first = await stage.submit(stage.short(temperature=1.0, top_p=0.5), idempotency_key="k")
        again = await stage.submit(stage.short(top_p=0.5, temperature=1.0), idempotency_key="k")
        assert (first.replayed, again.replayed) == (False, True)
        assert first.record.id == again.record.id
        other = await stage.submit(stage.short(temperature=1.0, top_p=0.5), idempotency_key="other")
        assert other.record.id != first.record.id

    async def test_a_key_with_another_value_is_a_conflict(self, stage: Stage) -> None:
        """And changes nothing."""
        first = await stage.submit(stage.short(), idempotency_key="k")
        with pytest.raises(IdempotencyConflict):
            await stage.submit(stage.short(temperature=0.5), idempotency_key="k")
        assert (await stage.submit(stage.short(), idempotency_key="k")).record.id == first.record.id
        assert [record.id for record in (await stage.door.list(tenant=TENANT)).records] == [first.record.id]

    async def test_keys_are_each_tenants_own(self, stage: Stage) -> None:
        """Another tenant's key of the same name is another key, whatever its value."""
        first = await stage.submit(stage.short(), idempotency_key="k")
        other = await stage.submit(stage.short(temperature=0.5), tenant=STRANGER, idempotency_key="k")
        assert not other.replayed
        assert other.record.id != first.record.id

    async def test_submits_at_once_with_one_key_make_one_generation(self, stage: Stage) -> None:
        """Whoever comes second gets the first's."""
        made = await asyncio.gather(*(stage.submit(stage.short(), idempotency_key="k") for _ in range(6)))
        assert len({submitted.record.id for submitted in made}) == 1
        assert len((await stage.door.list(tenant=TENANT)).records) == 1

    # -- tenants --------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("owner", [TENANT, None], ids=["another tenant's", "nobody's"])
    async def test_what_is_not_ones_own_is_not_found(self, stage: Stage, owner: str | None) -> None:
        """By no method, and nothing happens to it."""
        generation = await stage.started(stage.long()) if owner else NOBODY
        for attempt in all_ways(stage.door, generation, STRANGER):
            with pytest.raises(GenerationNotFound):
                await attempt()
        assert (await stage.door.list(tenant=STRANGER)).records == []
        if owner:
            assert (await stage.door.get(generation, tenant=owner)).status == "running"

    # -- lists ----------------------------------------------------------------------------------------------------

    async def test_lists_show_each_once_newest_first(self, stage: Stage) -> None:
        """Page by page, whatever the size of a page, also while new ones arrive; without outputs."""
        made = [await submit_later(stage) for _ in range(5)]
        for limit in (1, 2, 5, 20):
            found: list[Record] = []
            cursor: str | None = None
            while True:
                page = await stage.door.list(tenant=TENANT, limit=limit, cursor=cursor)
                found += page.records
                cursor = page.next_cursor
                if cursor is None:
                    break
                await stage.submit(stage.short())
            assert all(record.output is None for record in found)
            assert [record.id for record in found][-5:] == made[::-1]
            assert len({record.id for record in found}) == len(found)

    async def test_a_page_is_never_longer_than_asked_for(self, stage: Stage) -> None:
        """And the last one says so."""
        for _ in range(3):
            await stage.submit(stage.short())
        first = await stage.door.list(tenant=TENANT, limit=2)
        last = await stage.door.list(tenant=TENANT, limit=2, cursor=first.next_cursor)
        whole = await stage.door.list(tenant=TENANT, limit=3)
        assert [len(first.records), len(last.records), len(whole.records)] == [2, 1, 3]
        assert first.next_cursor is not None
        assert (last.next_cursor, whole.next_cursor) == (None, None)

    async def test_a_list_by_status_shows_that_status_only(self, stage: Stage) -> None:
        """However many others stand in between."""
        await stage.finished(stage.short())
        cancelled = [await self._cancelled(stage) for _ in range(2)]
        await stage.finished(stage.short())
        cancelled.append(await self._cancelled(stage))
        await stage.finished(stage.short())
        for limit in (1, 2, 3):
            found: list[str] = []
            cursor: str | None = None
            while not found or cursor:
                page = await stage.door.list(tenant=TENANT, status="cancelled", limit=limit, cursor=cursor)
                assert {record.status for record in page.records} <= {"cancelled"}
                found += [record.id for record in page.records]
                cursor = page.next_cursor
            assert found == cancelled[::-1]
        assert (await stage.door.list(tenant=TENANT, status="failed")).records == []

    async def _cancelled(self, stage: Stage) -> str:
        generation = await stage.started(stage.long())
        await stage.door.cancel(generation, tenant=TENANT)
        assert (await stage.door.wait(generation, 10, tenant=TENANT)).status == "cancelled"
        return generation

    async def test_a_cursor_of_somebody_else_is_refused(self, stage: Stage) -> None:
        """Naming the field."""
        with pytest.raises(InvalidRequest) as caught:
            await stage.door.list(tenant=TENANT, cursor="nonsense")
        assert caught.value.field == "cursor"

    # -- chats ----------------------------------------------------------------------------------------------------

    async def test_a_chat_stands_for_its_latest_generation(self, stage: Stage) -> None:
        """Whichever is told last; what is settled is the generation, also when that has ended since."""
        chats = stage.door.chats
        first, second = await stage.started(stage.long()), await submit_later(stage)
        for generation in (second, first):
            await chats.begin(TENANT, "chat", generation, 60_000)
        await chats.settle(first)
        run = await chats.current(TENANT, "chat")
        assert run is not None
        assert (run.generation, run.settled) == (second, False)
        assert await chats.current(STRANGER, "chat") is None
        await chats.begin(TENANT, "other", first, 60_000)
        await stage.door.cancel(first, tenant=TENANT)
        record = await stage.door.wait(first, 10, tenant=TENANT, output=False)
        assert (record.status, record.output) == ("cancelled", None)
        run = await chats.current(TENANT, "other")
        assert run is not None
        assert (run.generation, run.settled) == (first, True)


async def submit_later(stage: Stage) -> str:
    """Submit in a millisecond of its own."""
    clock = asyncio.get_running_loop().time
    after = clock() + 0.002
    await wait_until(lambda: clock() > after)
    return (await stage.submit(stage.short())).record.id
