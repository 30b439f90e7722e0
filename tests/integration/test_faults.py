"""Bad luck: connections die, Redis dies, replicas are stale, workers are told to go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import pytest

from broker.client import Broker
from broker.events import Started, TextDelta, encode_entry
from broker.scripts import Claim, Fence
from broker.settings import Settings
from rejoinder.embedded import EmbeddedServer
from tests.conftest import MakeSettings, StartWorker
from tests.integration.reading import events, held_before, read, request
from tests.support.history import answer, check
from tests.support.snapshot import drop, moved, restore, take
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration


async def seq_at_least(broker: Broker, generation: str, seq: int) -> bool:
    """Whether the log has come so far."""
    return (await broker.stat(generation)).top.seq >= seq


async def seq_reaches(broker: Broker, generation: str, seq: int) -> None:
    """Wait until the log has come so far."""
    await wait_until(lambda: seq_at_least(broker, generation, seq))


class TestStaleReplica:
    """A failover that forgets: the writer repairs, the reader is reset, nobody gets a mixture."""

    @pytest.mark.usefixtures("worker")
    async def test_a_lost_tail_is_written_again_with_the_same_ids(self, broker: Broker) -> None:
        """Behind: same ids, same boundaries; a reader that had the lost entries notices nothing."""
        made = await broker.submit(request(300, 100, delivery={"batch": "none"}))
        generation = made.record.id
        reading = asyncio.ensure_future(read(broker, generation))
        await seq_reaches(broker, generation, 5)
        early = await take(broker, generation)
        await seq_reaches(broker, generation, 12)
        await restore(broker, generation, early)
        viewer = await reading
        truth = await read(broker, generation)
        assert check([viewer], {generation: [s for s in truth.seen if s.id]}) == []
        assert "stream.reset" not in events(viewer)
        assert (await broker.get(generation)).attempt == 1

    @pytest.mark.usefixtures("worker")
    async def test_a_forgotten_claim_starts_over_without_a_new_call(self, broker: Broker) -> None:
        """Diverged: the writer claims again, voids what stands there and says everything once more."""
        stopped = await broker.submit(request(1, 1000))
        await broker.wait(stopped.record.id, 5)
        made = await broker.submit(request(300, 100, prompt="again", delivery={"batch": "none"}))
        generation = made.record.id
        await seq_reaches(broker, generation, 8)
        early = await take(broker, generation)
        forgotten = await self._before_the_claim(broker, generation, early)
        reading = asyncio.ensure_future(read(broker, generation))
        await seq_reaches(broker, generation, 12)
        await restore(broker, generation, forgotten)
        viewer = await reading
        truth = await read(broker, generation)
        assert check([viewer], {generation: [s for s in truth.seen if s.id]}) == []
        assert events(truth).count("generation.started") == 1
        record = await broker.get(generation)
        assert record.output is not None
        assert record.output.text == answer(viewer.seen)

    async def _before_the_claim(self, broker: Broker, generation: str, early: Any) -> Any:
        """What a replica knew that saw the submit but not the claim; made elsewhere, for the writer goes on writing."""
        client = cast("Any", broker.redis)
        aside = f"{generation}Aside"
        name, log = broker.keys.job(aside), broker.keys.log(aside)
        await restore(broker, aside, moved(broker, early, generation, aside))
        rows = await client.xrange(log, "-", "+")
        first = rows[0][0].decode()
        pipe = client.pipeline(transaction=True)
        pipe.hset(
            name,
            mapping={
                "status": "queued",
                "owner": "",
                "lease_until": "0",
                "attempt": "0",
                "epoch": first.partition("-")[0],
                "top": first.partition("-")[0],
                "seq": "1",
            },
        )
        pipe.hdel(name, "started_at", "first_token_at")
        # XTRIM can only drop the head, and XSETID would keep the top: a stream of its first entry is made anew.
        pipe.delete(log)
        pipe.xadd(log, rows[0][1], id=first)
        pipe.pexpire(log, 600_000)
        await pipe.execute()
        forgotten = await take(broker, aside)
        await drop(broker, aside)
        return moved(broker, forgotten, aside, generation)


@pytest.mark.usefixtures("worker")
async def test_connections_that_are_killed_again_and_again_lose_nothing(broker: Broker) -> None:
    """CLIENT KILL of everybody, ten times in mid-stream."""
    # One entry for each token: after a stall they come at once, and joined they may be fewer than are waited for.
    made = await broker.submit(request(200, 150, delivery={"batch": "none"}))
    generation = made.record.id
    reading = asyncio.ensure_future(read(broker, generation))
    for n in range(10):
        await seq_reaches(broker, generation, 3 + 4 * n)
        client = cast("Any", broker.redis)
        for kind in ("normal", "pubsub"):
            await client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
    viewer = await asyncio.wait_for(reading, 20)
    truth = await read(broker, generation)
    assert check([viewer], {generation: [s for s in truth.seen if s.id]}) == []
    assert (await broker.get(generation)).attempt == 1


class TestOutage:
    """Redis itself goes and comes back."""

    @pytest.fixture
    def own_server(self) -> Iterator[EmbeddedServer]:
        """A server that may be killed."""
        with EmbeddedServer() as server:
            yield server

    @pytest.fixture
    def settings(self, make_settings: MakeSettings, own_server: EmbeddedServer) -> Settings:
        """A lease shorter than the outage."""
        return make_settings(redis_url=own_server.url, lease_s=0.6)

    @pytest.fixture
    async def two_workers(self, start_worker: StartWorker) -> AsyncIterator[None]:
        """One runs the generation, the other must not take it."""
        await start_worker()
        await start_worker()
        yield

    @pytest.mark.usefixtures("two_workers")
    async def test_an_outage_longer_than_the_lease_voids_nobody(
        self, broker: Broker, own_server: EmbeddedServer
    ) -> None:
        """Kill -9, twice the lease of silence, restart from the append-only file: one attempt, nothing lost."""
        made = await broker.submit(request(250, 100))
        generation = made.record.id
        reading = asyncio.ensure_future(read(broker, generation))
        await seq_reaches(broker, generation, 10)
        own_server.kill()
        clock = asyncio.get_running_loop().time
        back_at = clock() + 1.3
        await wait_until(lambda: clock() > back_at)
        await own_server.start_async()
        viewer = await asyncio.wait_for(reading, 20)
        truth = await read(broker, generation)
        assert check([viewer], {generation: [s for s in truth.seen if s.id]}) == []
        assert truth.seen[-1].kind == "generation.completed"
        assert (await broker.get(generation)).attempt == 1


class TestHandOver:
    """SIGTERM to a worker, as far as it is a matter of this process."""

    @pytest.fixture
    def settings(self, make_settings: MakeSettings) -> Settings:
        """Hand over at once, and a lease that nobody wants to wait for."""
        return make_settings(lease_s=30.0, worker_drain_s=0.0)

    async def test_the_rest_moves_without_waiting_for_the_lease(
        self, broker: Broker, start_worker: StartWorker
    ) -> None:
        """The successor starts within a second; an orderly hand-off is no loss."""
        first = await start_worker()
        with held_before(20) as go_on:
            made = await broker.submit(request(150, delivery={"batch": "none"}))
            generation = made.record.id
            reading = asyncio.ensure_future(read(broker, generation))
            await seq_reaches(broker, generation, 6)
            await start_worker()
            first.set()
            await wait_until(lambda: _moved(broker, generation))
            go_on.set()
            viewer = await asyncio.wait_for(reading, 15)
        assert events(viewer).count("generation.started") == 2
        assert check([viewer]) == []
        record = await broker.get(generation)
        assert record.output is not None
        assert (record.status, record.attempt) == ("completed", 2)
        assert record.output.text == answer(viewer.seen)

    async def test_continue_keeps_what_was_said(self, broker: Broker, start_worker: StartWorker) -> None:
        """on_worker_loss=continue: the second attempt goes on, and both halves are one answer."""
        alone = await broker.submit(request(60, 5000, prompt="one", options={"seed": 3}))
        first = await start_worker()
        whole = await broker.wait(alone.record.id, 5)
        same = request(60, prompt="one", options={"seed": 3}, on_worker_loss="continue", delivery={"batch": "none"})
        with held_before(20) as go_on:
            made = await broker.submit(same)
            generation = made.record.id
            await seq_reaches(broker, generation, 8)
            await start_worker()
            first.set()
            await wait_until(lambda: _moved(broker, generation))
            go_on.set()
            record = await broker.wait(generation, 15)
        viewer = await read(broker, generation)
        modes = [s.event["mode"] for s in viewer.seen if s.kind == "generation.started"]
        assert modes == ["restart", "continue"]
        assert record.output is not None
        assert whole.output is not None
        assert record.output.text == whole.output.text

    async def test_a_model_that_refuses_its_own_beginning_is_asked_from_the_start(
        self, broker: Broker, start_worker: StartWorker
    ) -> None:
        """prefill_refused falls back to restart: what stood there is void."""
        made = await broker.submit(request(20, 2000, on_worker_loss="continue"))
        generation = made.record.id
        claim = await broker.log.claim(
            generation, "first", lease_ms=60_000, max_attempts=3, whole_ms=60_000, lost=(b"{", b"{}")
        )
        assert isinstance(claim, Claim)
        fence = Fence("first", claim.epoch)
        said = [encode_entry(Started(1, "restart", "demo", "demo-1")), encode_entry(TextDelta(0, "Not of that answer"))]
        await broker.log.append(generation, fence, 2, said, lease_ms=60_000, started="restart 1", first_token=True)
        await broker.log.release(generation, fence)
        await start_worker()
        record = await broker.wait(generation, 10)
        viewer = await read(broker, generation)
        modes = [(s.event["attempt"], s.event["mode"]) for s in viewer.seen if s.kind == "generation.started"]
        assert modes == [(1, "restart"), (2, "continue"), (3, "restart")]
        assert check([viewer]) == []
        assert record.status == "completed"
        assert record.output is not None
        assert record.output.text == answer(viewer.seen)
        assert "Not of that answer" not in record.output.text


async def _moved(broker: Broker, generation: str) -> bool:
    return (await broker.get(generation)).attempt == 2
