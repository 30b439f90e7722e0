"""Redis has reached maxmemory: submits are refused in plain words, answers in flight end honestly, nothing hangs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast
from unittest.mock import patch

import pytest

from api.errors import status_of
from broker.client import Broker
from broker.errors import GenerationNotFound, LogFull
from broker.settings import Settings
from rejoinder.embedded import EmbeddedServer
from tests.conftest import MakeSettings, StartWorker
from tests.integration.reading import held_before, read, request
from tests.integration.test_faults import seq_reaches
from tests.support.history import answer, check
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
async def settings(make_settings: MakeSettings) -> AsyncIterator[Settings]:
    """On a server of this test's own, whose memory it may take away."""
    async with EmbeddedServer() as server:
        yield make_settings(redis_url=server.url, lease_s=2.0)


async def fill(broker: Broker, *, full: bool = True) -> None:
    """Let Redis be full, or not any more."""
    await cast("Any", broker.redis).config_set("maxmemory", "1" if full else "0")


@pytest.mark.usefixtures("worker")
class TestFull:
    """What a client sees of it."""

    async def test_a_submit_is_refused_and_says_why(self, broker: Broker) -> None:
        """503 log_full, to be tried again; as soon as there is room it goes through."""
        await fill(broker)
        with pytest.raises(LogFull, match="maxmemory") as refused:
            await broker.submit(request(3))
        assert (status_of(refused.value), refused.value.retryable) == (503, True)
        await fill(broker, full=False)
        made = await broker.submit(request(3, 0))
        assert (await broker.wait(made.record.id, 10)).status == "completed"

    async def test_a_passing_shortage_costs_nothing(self, broker: Broker) -> None:
        """Answers in flight are held back and go on; the lease is kept meanwhile."""
        with held_before(20) as go_on:
            made = await broker.submit(request(100, delivery={"batch": "none"}))
            await seq_reaches(broker, made.record.id, 10)
            lease = await _lease(broker, made.record.id)
            await fill(broker)
            go_on.set()
            await wait_until(lambda: _renewed(broker, made.record.id, lease))
            await fill(broker, full=False)
            record = await broker.wait(made.record.id, 10)
        viewer = await read(broker, made.record.id)
        assert (record.status, record.attempt) == ("completed", 1)
        assert check([viewer]) == []
        assert record.usage is not None
        assert record.usage.output_tokens == 100
        assert record.output is not None
        assert record.output.text == answer(viewer.seen)

    async def test_an_answer_that_does_not_fit_fails(self, broker: Broker) -> None:
        """What was written stands, the end says that it is not whole, and viewers hear it."""
        with patch("worker.patience.FULL_S", 0.3):
            made = await broker.submit(request(2000, 100))
            await seq_reaches(broker, made.record.id, 10)
            await fill(broker)
            viewer = await read(broker, made.record.id)
        record = await broker.get(made.record.id)
        assert record.status == "failed"
        assert record.error is not None
        assert (record.error.code, record.error.retryable) == ("log_full", True)
        assert check([viewer]) == []
        assert record.output is not None
        assert answer(viewer.seen) == record.output.text != ""

    async def test_an_answer_that_is_over_but_for_its_last_words_fails_too(self, broker: Broker) -> None:
        """The provider had ended; a log that lacks words must not say that it is whole."""
        with patch("worker.patience.FULL_S", 0.3), held_before(0) as go_on:
            made = await broker.submit(request(30))
            await seq_reaches(broker, made.record.id, 2)
            await fill(broker)
            go_on.set()
            record = await broker.wait(made.record.id, 10)
        assert (record.status, record.error and record.error.code) == ("failed", "log_full")

    async def test_cancel_and_delete_work(self, broker: Broker) -> None:
        """Nobody is kept from ending what fills the memory."""
        first = await broker.submit(request(2000, 100))
        second = await broker.submit(request(2000, 100))
        await seq_reaches(broker, first.record.id, 5)
        await seq_reaches(broker, second.record.id, 5)
        await fill(broker)
        await broker.cancel(first.record.id)
        await broker.delete(second.record.id)
        # Not before: the answers must not have failed by themselves when they are cancelled.
        with patch("worker.patience.FULL_S", 0.3):
            record = await broker.wait(first.record.id, 10)
        assert record.status == "cancelled"
        with pytest.raises(GenerationNotFound):
            await broker.get(second.record.id)


async def test_what_waits_in_the_queue_can_be_cancelled(broker: Broker) -> None:
    """Without a worker, and without memory."""
    made = await broker.submit(request(3))
    await fill(broker)
    assert (await broker.cancel(made.record.id)).status == "cancelled"


async def test_what_was_accepted_runs_when_there_is_room(broker: Broker, start_worker: StartWorker) -> None:
    """A claim that does not fit is made later."""
    made = await broker.submit(request(3, 0))
    await fill(broker)
    await start_worker()
    assert (await broker.wait(made.record.id, 0.5)).status == "queued"
    await fill(broker, full=False)
    assert (await broker.wait(made.record.id, 15)).status == "completed"


async def _lease(broker: Broker, generation: str) -> int:
    return int(await broker.redis.hget(broker.keys.job(generation), "lease_until") or 0)


async def _renewed(broker: Broker, generation: str, since: int) -> bool:
    return await _lease(broker, generation) > since + 500
