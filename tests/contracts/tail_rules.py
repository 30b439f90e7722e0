"""The half of the broker's contract that is about reading: positions, replay, resets, live."""

from __future__ import annotations

import asyncio

from broker.events import Completed, Failed
from broker.position import Position
from broker.tail_items import Batch, Live, Reset, TailItem
from tests.contracts.stage import TENANT, Stage, assert_dense, entries, held, others, said


class TailRules:
    """Rules for :meth:`api.door.Door.tail`; a part of :class:`tests.contracts.broker.BrokerContract`."""

    async def test_a_log_is_dense_and_ends_once(self, stage: Stage) -> None:
        """1, 2, 3 …, one terminal event, the last entry; the tail ends behind it and says nothing else."""
        for request, end in ((stage.short(), Completed), (stage.failing(), Failed)):
            items = await stage.read(await stage.finished(request))
            log = entries(items)
            assert others(items) == []
            assert_dense(log)
            assert isinstance(log[-1].event, end)
            assert all(held(entry) == 1 for entry in log)

    async def test_a_live_reader_gets_what_a_replay_gives(self, stage: Stage) -> None:
        """The same entries; ``Live`` once, and live batches only behind it."""
        generation = (await stage.submit(stage.short())).record.id
        readers = [stage.read(generation, replay="exact"), stage.read(generation, replay="merged")]
        exact, merged = await asyncio.gather(*readers)
        replayed = entries(await stage.read(generation))
        assert entries(exact) == replayed
        assert said(entries(merged)) == said(replayed)
        assert_dense(entries(merged))
        for items in (exact, merged):
            lives = [place for place, item in enumerate(items) if isinstance(item, Live)]
            first = next((n for n, item in enumerate(items) if isinstance(item, Batch) and item.live), len(items))
            assert len(lives) <= 1
            assert first == len(items) or lives[0] < first

    async def test_live_is_said_to_whoever_reaches_the_tail_of_a_log_that_goes_on(self, stage: Stage) -> None:
        """Also to a reader who has everything already."""
        generation = await stage.started(stage.long())
        items = await stage.read(generation, until=lambda item: isinstance(item, Live))
        assert isinstance(items[-1], Live)
        assert_dense(entries(items))
        last = entries(items)[-1].position
        more = await stage.read(generation, last, until=lambda item: isinstance(item, Live))
        assert_dense(entries(more), last.seq)

    async def test_every_position_is_followed_by_exactly_the_rest(self, stage: Stage) -> None:
        """Exact or merged; behind the terminal event there is nothing, and no waiting for it."""
        generation = await stage.finished(stage.short())
        log = entries(await stage.read(generation))
        for at, entry in enumerate(log, 1):
            rest = await stage.read(generation, entry.position)
            assert others(rest) == []
            assert entries(rest) == log[at:]
            merged = entries(await stage.read(generation, entry.position, replay="merged"))
            assert_dense(merged, at)
            assert said([*log[:at], *merged]) == said(log)

    async def test_merged_says_what_exact_says(self, stage: Stage) -> None:
        """In fewer events, each with the id of the last entry that it holds; also where an attempt is void."""
        for request in (stage.short(), stage.restarting()):
            generation = await stage.finished(request)
            exact = entries(await stage.read(generation))
            merged = entries(await stage.read(generation, replay="merged"))
            assert_dense(merged)
            assert said(merged) == said(exact)
            assert len(merged) < len(exact)
            assert sum(map(held, merged)) == len(exact)
            assert [entry.position for entry in merged] == [exact[entry.position.seq - 1].position for entry in merged]

    async def test_a_position_that_is_not_in_the_log_is_reset(self, stage: Stage) -> None:
        """Another epoch's, or beyond the end: one Reset, then the whole log."""
        generation = await stage.finished(stage.short())
        log = entries(await stage.read(generation))
        top = log[-1].position
        for position in (Position(5, 3), Position(top.epoch, top.seq + 1), Position(top.epoch + 9, 2), (1, 1)):
            items = await stage.read(generation, Position(*position))
            assert isinstance(items[0], Reset)
            assert others(items) == items[:1]
            assert entries(items) == log

    async def test_a_position_that_is_not_in_a_running_log_is_reset(self, stage: Stage) -> None:
        """At once for one that never was; for one beyond the tail, after the writer's time to repair it."""
        generation = await stage.started(stage.long())
        top = (await stage.door.stat(generation, tenant=TENANT)).top

        def whole(item: TailItem) -> bool:
            return isinstance(item, Batch)

        foreign = stage.read(generation, Position(5, 3), until=whole)
        beyond = stage.read(generation, Position(top.epoch, top.seq + 100_000), until=whole)
        for items in await asyncio.gather(foreign, beyond):
            assert isinstance(items[0], Reset)
            assert entries(items)[0].position.seq == 1
            assert_dense(entries(items))
