"""Submit, generate, stream, drop, rejoin: broker and worker together, on a real server."""

from __future__ import annotations

import asyncio
import random

import pytest

from broker.client import Broker
from broker.errors import GenerationNotFound, LogExpired, LogLost
from broker.position import Position
from tests.conftest import StartWorker
from tests.integration.reading import events, last_position, read, request
from tests.support.history import Viewer, answer, check
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.mark.usefixtures("worker")
class TestReading:
    """What readers get while a worker writes."""

    async def test_a_live_reader_sees_the_whole_log_once_and_in_order(self, broker: Broker) -> None:
        """created, started, deltas, completed: dense from seq 1."""
        made = await broker.submit(request())
        viewer = await read(broker, made.record.id)
        assert check([viewer]) == []
        assert events(viewer) == ["generation.created", "generation.started", "generation.completed"]
        record = await broker.get(made.record.id)
        assert record.output is not None
        assert record.output.text == answer(viewer.seen)
        assert record.last_event_id == str(last_position(viewer))

    async def test_a_cut_anywhere_and_a_resume_give_the_same_log(self, broker: Broker) -> None:
        """For every position of the log, what follows it is what an uncut reader saw."""
        made = await broker.submit(request(60, 2000))
        whole = [s for s in (await read(broker, made.record.id)).seen if s.id]
        for at, point in enumerate(whole[:-1]):
            rest = await read(broker, made.record.id, Position(*point.position))
            assert [s for s in rest.seen if s.id] == whole[at + 1 :]

    async def test_fifty_viewers_cut_at_random_lose_nothing(self, broker: Broker) -> None:
        """Each is cut after 1-10 events, again and again, while the answer is being written."""
        made = await broker.submit(request(150, 300))
        rng = random.Random(7)

        async def watch(name: str) -> Viewer:
            viewer = Viewer(name, made.record.id)
            while not viewer.clean_ends:
                cut = rng.randint(1, 10)
                replay = rng.choice(("merged", "exact"))
                await read(broker, made.record.id, last_position(viewer), replay=replay, stop_after=cut, viewer=viewer)
            return viewer

        viewers = await asyncio.gather(*(watch(f"v{n}") for n in range(50)))
        truth = await read(broker, made.record.id)
        assert check(viewers, {made.record.id: [s for s in truth.seen if s.id]}) == []
        assert {answer(viewer.seen) for viewer in viewers} == {answer(truth.seen)}

    async def test_a_foreign_position_resets_to_the_whole_log(self, broker: Broker) -> None:
        """A position of another epoch is answered by a reset and the log from seq 1."""
        made = await broker.submit(request(10, 1000))
        await broker.wait(made.record.id, 5)
        viewer = await read(broker, made.record.id, Position(5, 3))
        assert events(viewer)[0] == "stream.reset"
        assert check([viewer]) == []

    async def test_a_position_beyond_the_tail_waits_for_the_repair_then_resets(self, broker: Broker) -> None:
        """On a running log the writer may be about to repair; two seconds later the reader is reset."""
        made = await broker.submit(request(4000, 40))
        await wait_until(lambda: _seq_at_least(broker, made.record.id, 4))
        top = (await broker.stat(made.record.id)).top
        viewer = await read(broker, made.record.id, Position(top.epoch, 10_000), stop_after=2)
        assert events(viewer)[0] == "stream.reset"
        await broker.cancel(made.record.id)


async def _seq_at_least(broker: Broker, generation: str, seq: int) -> bool:
    return (await broker.stat(generation)).top.seq >= seq


@pytest.mark.usefixtures("worker")
class TestEnding:
    """How generations end."""

    async def test_cancel_of_a_running_generation_keeps_the_partial_text(self, broker: Broker) -> None:
        """The end says why, and the text so far stays."""
        made = await broker.submit(request(4000, 100))
        await wait_until(lambda: _seq_at_least(broker, made.record.id, 6))
        await broker.cancel(made.record.id)
        record = await broker.wait(made.record.id, 5)
        again = await broker.cancel(made.record.id)
        assert (record.status, again.status) == ("cancelled", "cancelled")
        viewer = await read(broker, made.record.id)
        assert viewer.seen[-1].event["reason"] == "client"
        assert record.output is not None
        assert record.output.text == answer(viewer.seen) != ""

    async def test_a_deadline_cancels(self, broker: Broker) -> None:
        """deadline_s counts from submit."""
        made = await broker.submit(request(4000, 50, deadline_s=0.4))
        record = await broker.wait(made.record.id, 5)
        viewer = await read(broker, made.record.id)
        assert record.status == "cancelled"
        assert viewer.seen[-1].event["reason"] == "deadline"

    async def test_nobody_watching_cancels_when_asked_to(self, broker: Broker) -> None:
        """on_disconnect.cancel_after_s counts from submit while nobody has watched."""
        made = await broker.submit(request(4000, 50, on_disconnect={"cancel_after_s": 0.5}))
        await wait_until(lambda: _ended(broker, made.record.id))
        viewer = await read(broker, made.record.id)
        assert viewer.seen[-1].event["reason"] == "unwatched"

    async def test_a_watched_generation_is_not_cancelled(self, broker: Broker) -> None:
        """A viewer in any format holds the lease."""
        made = await broker.submit(request(120, 40, on_disconnect={"cancel_after_s": 2.0}))
        viewer = await read(broker, made.record.id)
        assert viewer.seen[-1].kind == "generation.completed"

    async def test_a_failing_provider_ends_with_its_code_and_keeps_the_text(self, broker: Broker) -> None:
        """generation.failed carries code, retryable and status."""
        options = {"fail_at": 5, "fail_code": "provider_overloaded", "fail_retryable": True, "fail_status": 529}
        made = await broker.submit(request(20, 500, options=options))
        record = await broker.wait(made.record.id, 5)
        assert record.status == "failed"
        assert record.error is not None
        assert (record.error.code, record.error.retryable, record.error.provider_status) == (
            "provider_overloaded",
            True,
            529,
        )
        assert record.output is not None
        assert record.output.text

    async def test_a_refusal_before_the_first_token_is_announced_and_retried(self, broker: Broker) -> None:
        """generation.retrying carries the pause, which honours Retry-After."""
        options = {"refuse": 2, "refuse_key": "k1", "retry_after_s": 0.05}
        made = await broker.submit(request(5, 500, options=options))
        viewer = await read(broker, made.record.id)
        kinds = events(viewer)
        assert kinds.count("generation.retrying") == 2
        assert kinds[-1] == "generation.completed"

    async def test_a_truncated_provider_stream_is_a_failure(self, broker: Broker) -> None:
        """A body that ends without the vendor's end mark never looks like an end."""
        made = await broker.submit(request(20, 500, options={"truncate_at": 5}))
        record = await broker.wait(made.record.id, 5)
        assert record.error is not None
        assert record.error.code == "provider_truncated"

    @pytest.mark.notices
    async def test_delete_tells_the_viewers_and_erases(self, broker: Broker) -> None:
        """A live viewer gets cancelled (deleted); afterwards the generation is unknown."""
        made = await broker.submit(request(4000, 100))
        reading = asyncio.ensure_future(read(broker, made.record.id))
        await wait_until(lambda: _seq_at_least(broker, made.record.id, 6))
        await broker.delete(made.record.id)
        viewer = await reading
        assert viewer.seen[-1].event["reason"] == "deleted"
        with pytest.raises(GenerationNotFound):
            await broker.get(made.record.id)

    async def test_a_log_past_its_retention_is_a_tombstone(self, broker: Broker) -> None:
        """The record stays, its output is null, the events are expired."""
        made = await broker.submit(request(5, 1000, retention_s=1))
        record = await broker.wait(made.record.id, 5)
        assert record.output is not None
        await broker.redis.delete(broker.keys.log(made.record.id))
        assert (await broker.get(made.record.id)).output is None
        with pytest.raises(LogExpired):
            await broker.stat(made.record.id)


async def _ended(broker: Broker, generation: str) -> bool:
    return (await broker.records.get(generation)).ended


async def test_an_unknown_model_fails_with_a_code(broker: Broker, worker: asyncio.Event) -> None:
    """A worker that serves no such provider ends the log honestly."""
    assert not worker.is_set()
    made = await broker.submit(request().model_copy(update={"model": "nobody/nothing"}))
    record = await broker.wait(made.record.id, 5)
    assert record.error is not None
    assert record.error.code == "unknown_model"


async def test_a_lost_log_is_told_to_viewers_and_stops_the_provider(broker: Broker, start_worker: StartWorker) -> None:
    """FLUSHALL, as far as this generation goes: viewers are broken off within 5 s, later reads find nothing."""
    await start_worker()
    made = await broker.submit(request(4000, 50))
    reading = asyncio.ensure_future(read(broker, made.record.id))
    await wait_until(lambda: _seq_at_least(broker, made.record.id, 5))
    keys = broker.keys
    await broker.redis.delete(*(name(made.record.id) for name in (keys.job, keys.log, keys.request)))
    await wait_until(reading.done, 5)
    with pytest.raises(LogLost):
        await reading
    with pytest.raises(GenerationNotFound):
        await broker.stat(made.record.id)
    assert await broker.log.tops([made.record.id]) == [None]
