"""Workers and providers at their worst moments."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from broker.client import Broker
from broker.errors import Fenced, ProviderError
from broker.events import (
    Completed,
    ContentEvent,
    Event,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    encode_entry,
    event_to_json,
)
from broker.jobs import ending_head
from broker.request import GenerationRequest
from broker.scripts import Claim, Ending, Fence
from broker.settings import Settings
from tests.conftest import MakeSettings, StartWorker
from tests.integration.reading import events, read, request
from tests.support.history import check
from tests.support.upstream import Reply, Upstream
from tests.support.waiting import wait_until
from worker.calls import Calls
from worker.drive import Drive, Outcome
from worker.providers.base import Call, ProviderItem
from worker.providers.demo import DemoProvider

pytestmark = pytest.mark.integration

DEAD = "the dead worker's token"
POINTS: dict[str, list[Event]] = {
    "before it said that it started": [],
    "before the first token": [Started(1, "restart", "demo", "demo-1")],
    "in mid-text": [Started(1, "restart", "demo", "demo-1"), TextDelta(0, "half a")],
    "in a tool call": [
        Started(1, "restart", "demo", "demo-1"),
        ToolCallStarted(0, "call_1", "f"),
        ToolCallDelta(0, "call_1", '{"a'),
    ],
    "behind the last token": [Started(1, "restart", "demo", "demo-1"), TextDelta(0, "all of it.")],
}


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    """The shortest lease there is: a successor has to have been whole for one."""
    return make_settings(lease_s=0.5)


async def claim_by_the_dead(broker: Broker, generation: str) -> tuple[Fence, int]:
    """A worker that will never be heard of again."""
    claim = await broker.log.claim(
        generation, DEAD, lease_ms=60_000, max_attempts=3, whole_ms=60_000, lost=(b"{", b"{}")
    )
    assert isinstance(claim, Claim)
    return Fence(DEAD, claim.epoch), claim.top.seq + 1


@pytest.mark.parametrize("policy", ["restart", "continue", "fail"])
@pytest.mark.parametrize("point", POINTS)
async def test_a_worker_dies_at_this_point(point: str, policy: str, broker: Broker, start_worker: StartWorker) -> None:
    """Whatever it had said, the generation ends, and every reader has one whole, honest history."""
    made = await broker.submit(request(12, 0, on_worker_loss=policy))
    generation = made.record.id
    fence, first = await claim_by_the_dead(broker, generation)
    said = [encode_entry(event) for event in POINTS[point]]
    if said:
        await broker.log.append(generation, fence, first, said, lease_ms=60_000, started="restart 1")
    await cast("Any", broker.redis).hset(broker.keys.job(generation), mapping={"lease_until": "1", "lease_ms": "1"})
    reading = asyncio.ensure_future(read(broker, generation))
    await start_worker()
    viewer = await asyncio.wait_for(reading, 20)
    assert check([viewer]) == []
    record = await broker.get(generation)
    if policy == "fail":
        assert record.error is not None
        assert (record.status, record.error.code) == ("failed", "worker_lost")
    else:
        # What the dead one said is not how the demo begins: asked to go on with it, it refuses, and begins anew.
        refused = policy == "continue" and any(isinstance(event, TextDelta) for event in POINTS[point])
        assert (record.status, record.attempt) == ("completed", 3 if refused else 2)
        assert record.output is not None
        assert "half a" not in record.output.text


async def test_a_worker_dies_between_the_end_and_the_queue(broker: Broker, start_worker: StartWorker) -> None:
    """The job is still queued although its log has ended: it is taken off, and nothing is said again."""
    made = await broker.submit(request(12, 0))
    generation = made.record.id
    fence, first = await claim_by_the_dead(broker, generation)
    started = encode_entry(Started(1, "restart", "demo", "demo-1"))
    await broker.log.append(generation, fence, first, [started], lease_ms=60_000, started="restart 1")
    ending = Ending("completed", ending_head(event_to_json(Completed("stop"))), finish_reason="stop")
    assert (await broker.log.end(generation, fence, first + 1, [], ending)).kind == "ok"
    before = await read(broker, generation)
    assert await broker.queue_length() == 1
    await start_worker()
    await wait_until(lambda: _is_empty(broker))
    assert (await read(broker, generation)).seen == before.seen
    assert events(before)[-1] == "generation.completed"


async def _is_empty(broker: Broker) -> bool:
    return await broker.queue_length() == 0


async def test_a_renewal_that_comes_too_late_renews_nothing(broker: Broker) -> None:
    """It was sent while the lease ran, and arrives behind the successor's claim."""
    made = await broker.submit(request(3))
    generation = made.record.id
    fence, first = await claim_by_the_dead(broker, generation)
    await cast("Any", broker.redis).hset(broker.keys.job(generation), mapping={"lease_until": "1", "lease_ms": "1"})
    successor = await broker.log.claim(
        generation, "b", lease_ms=1000, max_attempts=3, whole_ms=60_000, lost=(b"{", b"{}")
    )
    assert isinstance(successor, Claim)
    lease = await broker.redis.hget(broker.keys.job(generation), "lease_until")
    reply = await broker.log.append(generation, fence, first, [], lease_ms=3_600_000)
    assert reply.kind == "fenced"
    assert await broker.redis.hget(broker.keys.job(generation), "lease_until") == lease


class Endless(DemoProvider):
    """Says one word, and then nothing."""

    async def stream(self, call: Call) -> AsyncGenerator[ProviderItem, None]:
        """Until it is closed."""
        del call
        yield TextDelta(0, "word")
        await asyncio.Event().wait()


def drive_with(broker: Broker, *, deadline_s: float = 60.0) -> tuple[Drive, Any]:
    """A drive whose writer takes everything and says nothing."""
    loop = asyncio.get_running_loop()

    async def room() -> None:
        """There always is."""

    def write(_event: ContentEvent) -> None:
        """Taken."""

    writer = SimpleNamespace(
        stopped=loop.create_future(), full=loop.create_future(), cancel_asked=loop.create_future(),
        bytes=0, attempt=1, room=room, write=write,
    )  # fmt: skip
    wanted = GenerationRequest(model="demo/demo-1", input="x")
    return Drive(broker, "gen_x", cast("Any", writer), wanted, deadline_s=deadline_s), writer


async def run(drive: Drive) -> Outcome:
    """To the first reason to stop."""
    return await drive.run(Endless(), Call(GenerationRequest(model="demo/demo-1", input="x"), "demo-1"))


async def test_losing_the_log_outranks_a_cancel_outranks_the_shutdown(broker: Broker) -> None:
    """All three at once: who may not write writes nothing; a cancelled answer is not handed to anybody."""
    drive, writer = drive_with(broker)
    drive.hand_over()
    assert (await run(drive)).handed_over
    writer.cancel_asked.set_result("client")
    assert (await run(drive)).cancelled == "client"
    writer.stopped.set_result(Fenced())
    outcome = await run(drive)
    assert (outcome.lost, outcome.cancelled) == (True, None)


async def test_the_deadline_outranks_the_shutdown(broker: Broker) -> None:
    """What has no time left is not handed over to have none elsewhere."""
    drive, _ = drive_with(broker, deadline_s=-1.0)
    drive.hand_over()
    outcome = await run(drive)
    assert (outcome.cancelled, outcome.handed_over) == ("deadline", False)


class TestProviderSilence:
    """A provider that keeps the line open and says nothing."""

    @pytest.fixture
    async def upstream(self) -> AsyncIterator[Upstream]:
        """The provider."""
        async with Upstream() as stub:
            yield stub

    @pytest.fixture
    def settings(self, make_settings: MakeSettings, upstream: Upstream) -> Settings:
        """It is OpenAI."""
        key: dict[str, Any] = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": f"{upstream.url}/v1"}
        return make_settings(lease_s=2.0, stall_s=2.0, max_retries=0, **key)

    @pytest.mark.usefixtures("worker")
    async def test_keepalives_are_no_tokens(self, broker: Broker, upstream: Upstream) -> None:
        """Comments keep the socket alive, and the generation ends all the same."""
        upstream.replies.append(Reply((": keep-alive\n\n",) * 3, "stall"))
        made = await broker.submit(GenerationRequest(model="openai/gpt-x", input="x"))
        record = await broker.wait(made.record.id, 10)
        assert record.error is not None
        assert (record.status, record.error.code) == ("failed", "provider_stalled")
        await wait_until(lambda: upstream.live == 0)


def test_a_call_that_was_lost_is_only_asked_again_if_wanted() -> None:
    """A second call costs money: fail is the default."""
    wanted = GenerationRequest(model="demo/demo-1", input="x")
    calls = Calls(wanted, DemoProvider(), Call(wanted, "demo-1"), max_losses=3)
    calls.take(TextDelta(0, "a"))
    assert wanted.on_provider_loss == "fail"
    assert calls.again(ProviderError("broke", code="provider_truncated", retryable=True)) is None


async def test_a_lapsed_lease_is_noticed_without_a_poll(
    broker: Broker, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was told to come back in so many milliseconds does, although the next poll is far off."""
    monkeypatch.setattr("worker.queue.POLL_S", 60.0)
    made = await broker.submit(request(5, 0))
    await claim_by_the_dead(broker, made.record.id)
    job = broker.keys.job(made.record.id)
    until = await broker.now_ms() + 800
    await cast("Any", broker.redis).hset(job, mapping={"lease_until": str(until), "lease_ms": "800"})
    await start_worker()
    record = await broker.wait(made.record.id, 15)
    assert (record.status, record.attempt) == ("completed", 2)
