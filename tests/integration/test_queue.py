"""Workers at one queue: each job once, in order, shared; a full one takes the next as soon as it may."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from broker.client import Broker
from broker.settings import Settings
from broker.tasks import end
from tests.integration.reading import request
from tests.support.waiting import wait_until
from worker.generate import Busy, Done, Result
from worker.queue import QueueWorker

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def nobody_queues_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """These jobs end without an end in their logs: to the sweeper they are lost, and it would queue them again."""
    monkeypatch.setattr("broker.sweeper.PERIOD_S", 1000.0)


@asynccontextmanager
async def working(
    broker: Broker, run: Callable[[str], Awaitable[Result]], *, max_jobs: int = 5, lease_s: float = 5.0
) -> AsyncGenerator[QueueWorker]:
    """A queue worker that does this with each job."""
    settings: Settings = broker.settings
    worker = QueueWorker(
        settings.redis_url, broker.keys, broker.queue, run, lease_s=lease_s, max_jobs=max_jobs, trouble=lambda: None
    )
    task = asyncio.get_running_loop().create_task(worker.main())
    try:
        yield worker
    finally:
        await end(task)
        await worker.aclose()


async def _submitted(broker: Broker, number: int) -> list[str]:
    return [(await broker.submit(request(1))).record.id for _ in range(number)]


async def _empty(broker: Broker) -> bool:
    return await broker.queue_length() == 0


async def test_two_workers_share_a_long_queue_evenly_and_in_order(broker: Broker) -> None:
    """Each job runs once; what was submitted first starts first, but for those that run beside it.

    Jobs end in rounds, when both workers are full: how fast each of them is plays no part.
    """
    names = await _submitted(broker, 300)
    started: list[tuple[str, str]] = []
    full = [asyncio.Event() for _ in range(0, len(names), 20)]

    def runs(worker: str) -> Callable[[str], Awaitable[Result]]:
        async def run(generation: str) -> Result:
            now = len(started) // 20
            started.append((worker, generation))
            if len(started) % 20 == 0:
                full[now].set()
            await full[now].wait()
            return Done()

        return run

    async with AsyncExitStack() as stack:
        for worker in ("one", "two"):
            # No stall of the machine outlasts this lease: a mark that lapses would let a running job start again.
            await stack.enter_async_context(working(broker, runs(worker), max_jobs=10, lease_s=30))
        await wait_until(lambda: len(started) == len(names), 20)
        await wait_until(lambda: _empty(broker))
    assert sorted(name for _, name in started) == sorted(names)
    shares = Counter(worker for worker, _ in started)
    assert min(shares.values()) > 0.45 * len(names), shares
    late = [place - names.index(name) for place, (_, name) in enumerate(started)]
    assert max(map(abs, late)) <= 20


async def test_a_full_worker_takes_the_next_job_when_one_ends(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait for its next poll."""
    monkeypatch.setattr("worker.queue.POLL_S", 30.0)
    names = await _submitted(broker, 5)
    done: list[str] = []

    async def run(generation: str) -> Result:
        done.append(generation)
        return Done()

    async with working(broker, run, max_jobs=1):
        await wait_until(lambda: done == names)


async def test_who_has_no_room_passes_the_bell_on(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that drains hears a bell that was meant for somebody with room: it does not get lost with it."""
    for name in ("POLL_S", "IDLE_POLL_S"):
        monkeypatch.setattr(f"worker.queue.{name}", 30.0)
    ran: list[str] = []

    def runs(worker: str) -> Callable[[str], Awaitable[Result]]:
        async def run(_generation: str) -> Result:
            ran.append(worker)
            return Done()

        return run

    async with working(broker, runs("leaving")) as leaving, working(broker, runs("staying")):
        # Redis serves those who wait in their order: once the other has been served, the next bell is for this one.
        while ran[-1:] != ["staying"]:
            before = len(ran)
            await _submitted(broker, 1)
            await wait_until(lambda before=before: len(ran) > before)
        leaving.allow_pick_jobs = False
        before = len(ran)
        await _submitted(broker, 1)
        await wait_until(lambda: ran[before:] == ["staying"])


async def test_a_job_that_breaks_stays_in_the_queue(broker: Broker, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, the slot is free again, and the job runs anew when its mark has lapsed."""
    tries = 0

    async def run(_generation: str) -> Result:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise RuntimeError("a bug")
        return Done()

    await _submitted(broker, 1)
    with caplog.at_level(logging.CRITICAL, "worker.queue"):
        async with working(broker, run, max_jobs=1, lease_s=0.5) as worker:
            await wait_until(lambda: tries == 2)
            await wait_until(lambda: worker.job_counter == 0 and not worker.tasks)
            assert await _empty(broker)


async def test_a_busy_log_is_looked_at_again_when_its_lease_lapses(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with the poll after that."""
    for name in ("POLL_S", "IDLE_POLL_S"):
        monkeypatch.setattr(f"worker.queue.{name}", 30.0)
    answers: list[Result] = [Busy(200), Done()]

    async def run(_generation: str) -> Result:
        return answers.pop(0)

    await _submitted(broker, 1)
    async with working(broker, run):
        await wait_until(lambda: not answers)
