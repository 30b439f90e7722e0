"""The worker's writer: takes without waiting, appends, renews, repairs. Design decisions 2 to 4."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any
from unittest.mock import patch

import pytest
from arq.worker import JobExecutionFailed

from broker.errors import AlreadyEnded, Fenced, LogLost
from broker.events import TERMINAL_TYPES, Completed, Started, TextDelta, event_to_json
from broker.fold import OutputFold
from broker.jobs import ending_head
from broker.queue import job_to_bytes
from broker.scripts import Claim, Ending
from broker.tasks import end
from tests.broker.faulty import Fault, FaultyLog, open_writer
from tests.broker.store import Store
from tests.support.waiting import wait_until
from worker.batcher import Batcher
from worker.held import APPEND_BYTES, APPEND_ENTRIES
from worker.writer import UNWRITTEN_BYTES, LogWriter

ENDING = Ending("completed", ending_head(event_to_json(Completed("stop"))), finish_reason="stop")


@contextlib.asynccontextmanager
async def running(writer: LogWriter) -> AsyncGenerator[None]:
    """The writer's task beside the test, as in a worker; it has ended behind this block."""
    task = asyncio.get_running_loop().create_task(writer.run())
    try:
        yield
    finally:
        await end(task)


async def text(store: Store, generation: str) -> str:
    """What a reader is left with; the log must be dense and end at most once."""
    fold = OutputFold()
    rows = await store.rows(generation)
    assert [int(position.split("-")[1]) for position, _ in rows] == list(range(1, len(rows) + 1))
    assert [n for n, (_, event) in enumerate(rows, 1) if isinstance(event, TERMINAL_TYPES)] in ([], [len(rows)])
    for _, event in rows:
        fold.apply(event)
    return fold.output().text


async def starts(store: Store, generation: str) -> list[tuple[int, str]]:
    """Attempt and mode of each start."""
    return [(e.attempt, e.mode) for _, e in await store.rows(generation) if isinstance(e, Started)]


@pytest.fixture(autouse=True, params=[False, True], ids=["awaited", "posted"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways an append can go."""
    monkeypatch.setattr(FaultyLog, "posts", request.param)


async def has_said(store: Store, generation: str, wanted: str, *, entries: int = 2) -> None:
    """Wait until the log says this, and has so many entries: from 2 on there is a start."""

    async def says() -> bool:
        return await text(store, generation) == wanted and len(await store.rows(generation)) >= entries

    await wait_until(says)


async def desk(store: Store, **how: Any) -> tuple[FaultyLog, LogWriter]:
    """A log without faults as yet, which remembers the moment before the claim, and its writer."""
    log = FaultyLog(store, await store.submit())
    await log.remember()
    return log, await open_writer(log, **how)


async def test_what_is_taken_is_written_in_the_background(store: Store) -> None:
    """Start, words, end: the generator of the words awaits nothing."""
    log, writer = await desk(store)
    async with running(writer):
        for word in ("a", "b", "c"):
            writer.write(TextDelta(0, word))
        await has_said(store, log.generation, "abc")
    assert await writer.end(ENDING) == "ok"
    record = await store.records.get(log.generation)
    assert (record.status, await starts(store, log.generation)) == ("completed", [(1, "restart")])
    assert record.first_token_at is not None


async def test_what_waits_in_the_batcher_is_written_when_it_is_due(store: Store) -> None:
    """Without another word from the provider."""
    log, writer = await desk(store, batcher=Batcher("time", 0.02))
    async with running(writer):
        writer.write(TextDelta(0, "first"))
        writer.write(TextDelta(0, " second"))
        await has_said(store, log.generation, "first second")
        assert await starts(store, log.generation) == [(1, "restart")]


async def test_a_quiet_writer_renews_its_lease(store: Store) -> None:
    """The provider thinks for longer than the lease: the lease moves on, the log does not."""
    log, writer = await desk(store, lease_s=0.15)
    async with running(writer):
        await has_said(store, log.generation, "")
        first = int((await store.hash(log.generation))["lease_until"])

        async def renewed() -> bool:
            return int((await store.hash(log.generation))["lease_until"]) > first + 100

        await wait_until(renewed)
    assert len(await store.rows(log.generation)) == 2


async def test_redis_that_is_away_holds_the_provider_back(store: Store) -> None:
    """Bounded memory: past the limit there is no room until Redis has taken what waits."""
    log, writer = await desk(store)
    log.faults.extend(("refuse", "refuse", "refuse"))
    writer.write(TextDelta(0, "x" * UNWRITTEN_BYTES))
    writer.write(TextDelta(0, "y"))
    waiting = asyncio.ensure_future(writer.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    async with running(writer):
        await asyncio.wait_for(waiting, 5)
        await has_said(store, log.generation, "x" * UNWRITTEN_BYTES + "y")


async def test_one_append_is_bounded(store: Store) -> None:
    """What piled up goes in portions, by number and by bytes; one large entry still goes."""
    log, writer = await desk(store)
    for _ in range(APPEND_ENTRIES + 10):
        writer.write(TextDelta(0, "x"))
    for _ in range(5):
        writer.write(TextDelta(0, "y" * (APPEND_BYTES // 2)))
    writer.write(TextDelta(0, "z" * (2 * APPEND_BYTES)))
    await writer.drain()
    assert max(log.appended) == APPEND_ENTRIES
    assert log.appended[-1] == 1
    assert len(log.appended) >= 5
    assert len(await text(store, log.generation)) == APPEND_ENTRIES + 10 + 5 * (APPEND_BYTES // 2) + 2 * APPEND_BYTES


async def test_a_cancel_is_heard_with_the_next_append(store: Store) -> None:
    """And by a quiet writer that is told to look."""
    log, writer = await desk(store)
    async with running(writer):
        await has_said(store, log.generation, "")
        await store.jobs.cancel(log.generation, "client")
        writer.look()
        assert await asyncio.wait_for(writer.cancel_asked, 5) == "client"


async def test_a_look_during_an_append_is_not_forgotten(store: Store) -> None:
    """The reply on its way is from before the cancel: a quiet writer asks once more, and not at its next renewal."""
    log, writer = await desk(store)
    log.replies.clear()
    async with running(writer):
        await wait_until(lambda: log.appended == [1])
        await has_said(store, log.generation, "")
        await store.jobs.cancel(log.generation, "client")
        writer.look()
        log.replies.set()
        assert await asyncio.wait_for(writer.cancel_asked, 5) == "client"
    assert log.appended == [1, 0]


@pytest.mark.parametrize("why", [Fenced, AlreadyEnded, LogLost])
async def test_a_writer_that_may_not_write_stops(store: Store, why: type[Exception]) -> None:
    """Another owner, the end, or no log: the run ends by itself and says why; nothing is written."""
    log, writer = await desk(store)
    await store.lapse(log.generation)
    if why is Fenced:
        await store.own(log.generation, "b")
    elif why is AlreadyEnded:
        await store.jobs.cancel(log.generation, "client")
    else:
        await store.jobs.delete(log.generation, tenant="default")
    writer.write(TextDelta(0, "zombie"))
    await asyncio.wait_for(writer.run(), 5)
    assert isinstance(writer.stopped.result(), why)
    assert await writer.end(ENDING) == "lost"
    assert not await writer.release()
    if why is not LogLost:
        assert await text(store, log.generation) == ""


async def test_a_lost_tail_is_said_again(store: Store) -> None:
    """Behind: the same ids, and no start over."""
    log, writer = await desk(store)
    async with running(writer):
        writer.write(TextDelta(0, "a"))
        await has_said(store, log.generation, "a")
        await log.remember()
        early = log.replicas[-1]
        writer.write(TextDelta(0, "b"))
        await has_said(store, log.generation, "ab")
    rows = await store.rows(log.generation)
    await log.forget(early)
    assert await writer.end(ENDING) == "ok"
    assert (await store.rows(log.generation))[:-1] == rows
    assert await starts(store, log.generation) == [(1, "restart")]


async def test_a_forgotten_claim_is_made_again_and_everything_said_anew(store: Store) -> None:
    """Diverged: an attempt of its own, what was continued included; no word is lost or doubled."""
    generation = await store.submit(on_worker_loss="continue")
    earlier = await store.own(generation, "earlier")
    await earlier.begin()
    await earlier.say("once ", "upon ")
    await store.log.release(generation, earlier.fence)
    log = FaultyLog(store, generation)
    await log.remember()
    writer = await open_writer(log, mode="continue", prefix=[TextDelta(0, "once "), TextDelta(0, "upon ")])
    writer.write(TextDelta(0, "a "))
    await writer.drain()
    await log.forget(log.replicas[0])
    writer.write(TextDelta(0, "time"))
    assert await writer.end(ENDING) == "ok"
    assert await text(store, generation) == "once upon a time"
    assert await starts(store, generation) == [(1, "restart"), (2, "restart")]
    assert (await store.records.get(generation)).first_token_at is not None


async def test_a_second_start_of_one_worker_voids_the_first(store: Store) -> None:
    """The model refused its own beginning; a claim forgotten after that brings nothing of it back."""
    log, writer = await desk(store, mode="continue", prefix=[TextDelta(0, "void")])
    await writer.drain()
    writer.begin_again("restart", attempt=2)
    writer.write(TextDelta(0, "said"))
    await writer.drain()
    assert await starts(store, log.generation) == [(1, "continue"), (2, "restart")]
    assert (await store.records.get(log.generation)).attempt == 2
    await log.forget(log.replicas[0])
    assert await writer.end(ENDING) == "ok"
    assert await text(store, log.generation) == "said"
    assert await starts(store, log.generation) == [(1, "restart")]


async def test_a_release_writes_what_waits(store: Store) -> None:
    """The next owner goes on behind every word that was taken."""
    log, writer = await desk(store, batcher=Batcher("time", 60))
    writer.write(TextDelta(0, "a"))
    writer.write(TextDelta(0, "b"))
    assert await writer.release()
    assert await text(store, log.generation) == "ab"
    assert (await store.own(log.generation, "b")).next_seq == 5


@pytest.mark.parametrize("trouble", [["refuse", "refuse"], ["lose"], ["lose", "refuse", "lose"]])
async def test_a_hand_over_goes_through_trouble(store: Store, trouble: list[Fault]) -> None:
    """A connection that broke must not cost the next owner a lease, nor may a lost reply look like a lost log."""
    log, writer = await desk(store)
    await writer.drain()
    log.faults.extend(trouble)
    with patch("worker.patience._BACK_OFF_S", (0.0,)):
        assert await writer.release()
    assert not log.faults
    assert isinstance(await store.claim(log.generation, "next"), Claim)
    assert not await writer.release()


async def test_an_error_of_a_job_can_be_serialized() -> None:
    """Arq hands its own errors over as results, of a job that was taken out of the queue under it."""
    assert b"JobExecutionFailed" in job_to_bytes({"r": JobExecutionFailed("job expired")})
