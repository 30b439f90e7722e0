"""Answers that are made upstream in the background: a worker dies, and its successor listens on. docs/adr/0016."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import patch

import pytest

from broker.client import Broker
from broker.request import GenerationRequest
from broker.scripts import Claim, Fence, UpstreamAnswer
from broker.settings import Settings
from tests.broker.store import Store, Writer
from tests.conftest import MakeSettings, StartWorker
from tests.faults.test_producers import crash
from tests.integration.background_script import SCRIPT, TOKENS, begun, ended, said, text
from tests.integration.reading import read
from tests.support.background import HOLD, BackgroundUpstream
from tests.support.history import Viewer, check
from tests.support.history import answer as text_of
from tests.support.snapshot import restore, take
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
async def upstream() -> AsyncIterator[BackgroundUpstream]:
    """The provider."""
    async with BackgroundUpstream(SCRIPT) as stub:
        yield stub


@pytest.fixture
def settings(make_settings: MakeSettings, upstream: BackgroundUpstream) -> Settings:
    """The built-in name, and a lease short enough to see it lapse."""
    key: dict[str, Any] = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": upstream.url}
    return make_settings(lease_s=0.5, max_attempts=9, max_retries=1, worker_drain_s=0, **key)


def wanted(**fields: Any) -> GenerationRequest:
    """A background generation."""
    options = {"background": True, **fields.pop("provider_options", {})}
    return GenerationRequest(model="openai-responses/o9", input="x", provider_options=options, **fields)


async def left_behind(broker: Broker, upstream: BackgroundUpstream, parts: int = 0, **fields: Any) -> str:
    """A generation whose worker died when so many parts of the answer stood in its log."""
    store = Store.on(broker.redis, broker.settings)
    generation = await store.submit(**wanted(**fields).model_dump(exclude_unset=True))
    claim = await store.claim(generation, "dead", lease_ms=500)
    assert isinstance(claim, Claim)
    writer = Writer(store, generation, Fence("dead", claim.epoch), claim.top.seq + 1)
    await writer.begin()
    answer = upstream.begin()
    assert await store.log.keep_upstream(generation, writer.fence, UpstreamAnswer(answer.id, 1))
    await writer.append(*said()[:parts])
    await store.lapse(generation)
    return generation


async def whole(broker: Broker, generation: str) -> Viewer:
    """Read to the end; the answer must be the script's, said once."""
    viewer = await asyncio.wait_for(read(broker, generation), 15)
    assert check([viewer]) == []
    last = max(i for i, s in enumerate(viewer.seen) if s.event.get("mode") == "restart")
    assert [s.event["signature"] for s in viewer.seen[last:] if "signature" in s.event] == ["c2VjcmV0"]
    record = await broker.get(generation)
    assert record.output is not None
    assert record.output.text == text_of(viewer.seen) == "Once upon \U0001f98a a time"
    assert record.output.reasoning == "Let me think.\n\nSo."
    assert [(call.call_id, call.arguments, call.complete) for call in record.output.tool_calls] == [
        ("call_1", '{"a":1}', True),
        ("call_2", '{"b":2}', True),
    ]
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens, record.usage.reasoning_tokens) == (9, 7, 2)
    return viewer


def go_on(upstream: BackgroundUpstream, answers: int = 1) -> None:
    """Let so many answers be made to their end."""
    for _ in range(answers * SCRIPT.count(HOLD)):
        upstream.go()


def starts(viewer: Viewer) -> list[tuple[int, str]]:
    """Attempt and mode of every beginning."""
    return [(s.event["attempt"], s.event["mode"]) for s in viewer.seen if s.kind == "generation.started"]


@pytest.mark.slow
@pytest.mark.timeout(120)  # three workers are loaded one behind the other: 19 s at a load of 10, 54 at one of 20
async def test_kill_9_costs_no_token(broker: Broker, upstream: BackgroundUpstream, start_worker: StartWorker) -> None:
    """Three real SIGKILLs, in a thought, between two open tool calls and in the text: one POST, each token once.

    Every successor listens to the same answer, and goes on exactly there.
    """
    made = await broker.submit(wanted())
    upstream.go()
    for point in ("in a thought", "in a tool call", "in the text"):
        environ = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": upstream.url}
        assert await crash(broker.settings, point, **environ) == -9
        upstream.go()
    await start_worker()
    viewer = await whole(broker, made.record.id)
    assert starts(viewer) == [(1, "restart"), (2, "continue"), (3, "continue"), (4, "continue")]
    assert (len(upstream.posts), upstream.tokens) == (1, TOKENS)
    assert upstream.posts[0]["background"] is upstream.posts[0]["store"] is True
    assert upstream.listened == [("resp_1", None)] * 3
    assert upstream.cancelled == []


@pytest.mark.parametrize("parts", [0, 3, 9, 14])
async def test_a_successor_goes_on_where_the_log_ends(
    broker: Broker, upstream: BackgroundUpstream, start_worker: StartWorker, parts: int
) -> None:
    """Also before the first token, for the id is kept before it."""
    generation = await left_behind(broker, upstream, parts)
    go_on(upstream)
    await start_worker()
    assert starts(await whole(broker, generation)) == [(1, "restart"), (2, "continue")]
    assert (len(upstream.posts), upstream.tokens) == (0, TOKENS)


async def test_killed_between_two_answers(
    broker: Broker, upstream: BackgroundUpstream, start_worker: StartWorker
) -> None:
    """A second answer's id is kept, none of its tokens: what stands is the first one's, and is void."""
    generation = await left_behind(broker, upstream, 2)
    store = Store.on(broker.redis, broker.settings)
    fence = Fence("dead", int((await store.hash(generation))["epoch"]))
    assert await store.log.keep_upstream(generation, fence, UpstreamAnswer(upstream.begin().id, 2))
    go_on(upstream, 2)
    await start_worker()
    assert starts(await whole(broker, generation)) == [(1, "restart"), (2, "restart")]
    assert upstream.listened == [("resp_2", None)]


async def test_a_failed_answer_is_begun_anew_where_that_is_wanted(
    broker: Broker, upstream: BackgroundUpstream, start_worker: StartWorker
) -> None:
    """What the provider itself gave up is not listened to again."""
    upstream.scripts = [[*begun(), *text("Well, "), ended("failed", error={"code": "server_error", "message": "no"})]]
    go_on(upstream)
    with patch("worker.upstream.BASE_S", 0.001):
        await start_worker()
        made = await broker.submit(wanted(on_provider_loss="restart"))
        viewer = await asyncio.wait_for(read(broker, made.record.id), 15)
    assert starts(viewer) == [(1, "restart"), (2, "restart")]
    assert text_of(viewer.seen) == "Once upon \U0001f98a a time"
    assert (len(upstream.posts), upstream.listened) == (2, [])


async def test_a_hand_over_leaves_it_running(
    broker: Broker, upstream: BackgroundUpstream, start_worker: StartWorker
) -> None:
    """A worker that goes in good order stops nothing upstream."""
    upstream.go()
    stop = await start_worker()
    made = await broker.submit(wanted())
    await read(broker, made.record.id, stop_after=3)
    stop.set()
    store = Store.on(broker.redis, broker.settings)

    async def handed_over() -> bool:
        return (await store.hash(made.record.id))["owner"] == ""

    await wait_until(handed_over)
    await start_worker()
    go_on(upstream)
    assert starts(await whole(broker, made.record.id)) == [(1, "restart"), (2, "continue")]
    assert (len(upstream.posts), upstream.tokens, upstream.cancelled) == (1, TOKENS, [])


async def test_what_can_be_streamed_no_longer_is_retrieved(
    broker: Broker, upstream: BackgroundUpstream, start_worker: StartWorker
) -> None:
    """A stream is kept for a shorter time than its answer: the rest is taken from the whole."""
    generation = await left_behind(broker, upstream, 14)
    go_on(upstream)
    await wait_until(lambda: upstream.tokens == TOKENS)
    upstream.unstreamable = True
    await start_worker()
    await whole(broker, generation)
    assert upstream.posts == []


async def test_a_forgotten_answer_is_asked_for_again(
    broker: Broker, upstream: BackgroundUpstream, start_worker: StartWorker
) -> None:
    """The provider does not know the id any more: there is no other way, and what stood is void."""
    generation = await left_behind(broker, upstream, 14)
    go_on(upstream, 2)
    upstream.forget = True
    await start_worker()
    viewer = await whole(broker, generation)
    assert starts(viewer) == [(1, "restart"), (2, "continue"), (3, "restart")]
    assert len(upstream.posts) == 1


@pytest.mark.parametrize("cut", [[2], [4], [12, 9, 20]])
async def test_a_broken_line_is_no_loss(
    broker: Broker, upstream: BackgroundUpstream, start_worker: StartWorker, cut: list[int]
) -> None:
    """Where only the connection breaks, the same worker listens on: no boundary, no second answer."""
    go_on(upstream)
    upstream.cut_at = cut
    with patch("worker.upstream.BASE_S", 0.001):
        await start_worker()
        made = await broker.submit(wanted())
        assert starts(await whole(broker, made.record.id)) == [(1, "restart")]
    assert (len(upstream.posts), upstream.tokens) == (1, TOKENS)


async def test_a_cancel_stops_it_upstream(
    broker: Broker, upstream: BackgroundUpstream, start_worker: StartWorker
) -> None:
    """Closing the socket does not."""
    upstream.go()
    await start_worker()
    made = await broker.submit(wanted())
    await read(broker, made.record.id, stop_after=3)
    await broker.cancel(made.record.id)
    assert (await broker.wait(made.record.id, 10)).status == "cancelled"
    await wait_until(lambda: upstream.cancelled == ["resp_1"])


async def test_a_deadline_stops_it_upstream(
    broker: Broker, upstream: BackgroundUpstream, start_worker: StartWorker
) -> None:
    """So does whatever else ends the log."""
    await start_worker()
    store = Store.on(broker.redis, broker.settings)
    # On a machine that stands still a deadline may pass before there is anything to stop.
    for deadline_s in (1, 2, 4, 8):
        made = await broker.submit(wanted(deadline_s=deadline_s))
        assert (await broker.wait(made.record.id, 10)).status == "cancelled"
        if kept := (await store.hash(made.record.id)).get("upstream"):
            break
    assert kept
    await wait_until(lambda: kept.split()[1] in upstream.cancelled)


async def test_a_cancel_while_no_worker_lives(
    broker: Broker, upstream: BackgroundUpstream, start_worker: StartWorker
) -> None:
    """The next worker that looks at the job finds it ended, and stops what goes on upstream."""
    generation = await left_behind(broker, upstream, 3)
    assert (await broker.cancel(generation)).status == "cancelled"
    assert upstream.cancelled == []
    await start_worker()
    await wait_until(lambda: upstream.cancelled == ["resp_1"])

    async def queue_is_empty() -> bool:
        return await broker.queue_length() == 0

    await wait_until(queue_is_empty)


async def test_who_wants_no_takeover_gets_none(
    broker: Broker, upstream: BackgroundUpstream, start_worker: StartWorker
) -> None:
    """``on_worker_loss: fail`` ends the log, and what goes on upstream with it."""
    generation = await left_behind(broker, upstream, 3, on_worker_loss="fail")
    await start_worker()
    record = await broker.wait(generation, 10)
    assert (record.status, record.error and record.error.code) == ("failed", "worker_lost")
    await wait_until(lambda: upstream.cancelled == ["resp_1"])


async def test_a_server_that_lost_the_id_is_told_it_again(
    broker: Broker, upstream: BackgroundUpstream, start_worker: StartWorker
) -> None:
    """A failover that forgot the newest entries may have forgotten the id with them."""
    upstream.go()
    await start_worker()
    made = await broker.submit(wanted())
    generation = made.record.id
    await read(broker, generation, stop_after=3)
    replica = await take(broker, generation)
    upstream.go()
    await read(broker, generation, stop_after=8)
    await restore(broker, generation, replica, "upstream")
    go_on(upstream)
    await broker.wait(generation, 10)
    await whole(broker, generation)
    assert (await Store.on(broker.redis, broker.settings).hash(generation))["upstream"] == "1 resp_1"
