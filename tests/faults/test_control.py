"""Cancels from anywhere and at any moment, two submits at once, and what nobody may see."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

import pytest

from broker.client import Broker
from broker.errors import GenerationNotFound, IdempotencyConflict
from broker.events import TERMINAL_TYPES
from broker.request import GenerationRequest
from broker.scripts import Claim
from broker.settings import Settings
from tests.api.conftest import StartNode
from tests.api.fake_door import FakeDoor
from tests.api.raw import RawClient
from tests.api.reading import WHOLE, url
from tests.broker.store import LOST, Store
from tests.conftest import MakeSettings, StartWorker
from tests.integration.reading import read, request
from tests.support.history import check
from tests.support.upstream import Reply, Upstream, chat_frames
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

CHUNK = '{"id":"c","choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}'
BOUND_S = 1.0
"""Far above what bench/ measures: two busy cores must not make it fail."""
SECRET = "token-that-nobody-may-read"


@pytest.fixture
def settings(make_settings: MakeSettings, upstream: Upstream) -> Settings:
    """It is OpenAI. The lease is so long that no renewal comes to the rescue of a cancel."""
    key: dict[str, Any] = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": f"{upstream.url}/v1"}
    return make_settings(lease_s=30.0, **key)


@pytest.mark.parametrize(
    "reply", [Reply(then="silence"), Reply(chat_frames([CHUNK] * 3), "stall")], ids=["ttft", "mid"]
)
@pytest.mark.usefixtures("worker")
async def test_a_cancel_at_another_node_closes_the_socket_in_time(
    reply: Reply, broker: Broker, settings: Settings, upstream: Upstream
) -> None:
    """A node that knows nothing of the generation: the provider sees its client go within the bound."""
    upstream.replies.append(reply)
    made = await broker.submit(GenerationRequest(model="openai/gpt-x", input="x"))
    await wait_until(lambda: upstream.live == 1)
    async with Broker(settings.model_copy(update={"node_name": "other"})) as other:
        await other.cancel(made.record.id)
        await wait_until(lambda: upstream.live == 0, BOUND_S)
        assert (await other.wait(made.record.id, 5)).status == "cancelled"
    assert len(upstream.asked) == 1


async def test_a_cancel_of_a_dead_workers_generation_asks_no_provider(
    broker: Broker, upstream: Upstream, make_settings: MakeSettings, start_worker: StartWorker
) -> None:
    """Its lease still runs: the cancel waits for nobody but the lease, and the successor does not call."""
    made = await broker.submit(GenerationRequest(model="openai/gpt-x", input="x"))
    dead = await broker.log.claim(made.record.id, "dead", lease_ms=60_000, max_attempts=3, whole_ms=60_000, lost=LOST)
    assert isinstance(dead, Claim)
    assert (await broker.cancel(made.record.id)).status == "queued"
    # Only now: a lease that had lapsed before the cancel would be waited for by nobody.
    lease = {"lease_until": str(await broker.now_ms() + 400), "lease_ms": "400"}
    await cast("Any", broker.redis).hset(broker.keys.job(made.record.id), mapping=lease)
    key: dict[str, Any] = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": f"{upstream.url}/v1"}
    await start_worker(make_settings(lease_s=0.5, **key))
    assert (await broker.wait(made.record.id, 10)).status == "cancelled"
    assert upstream.asked == []


@pytest.mark.usefixtures("worker")
async def test_cancels_that_race_the_end_leave_one_end(broker: Broker) -> None:
    """Three at once, at any moment of a short answer: one terminal event, and everybody is told of the same."""
    chooser = random.Random(5)

    async def race(number: int) -> str:
        # Some are so long that a cancel finds them running, and some so short that it comes too late.
        tokens, rate = (4, 400) if number % 2 else (1000, 100)
        generation = (await broker.submit(request(tokens, rate, prompt=str(number)))).record.id
        seen = chooser.randrange(1, 8)
        await read(broker, generation, stop_after=seen)
        await asyncio.gather(*(broker.cancel(generation) for _ in range(3)))
        record = await broker.wait(generation, 5)
        viewer = await read(broker, generation)
        assert check([viewer]) == []
        assert viewer.seen[-1].kind == f"generation.{record.status}"
        assert (await broker.cancel(generation)).status == record.status
        rows = await Store.on(broker.redis, broker.settings).rows(generation)
        assert [isinstance(event, TERMINAL_TYPES) for _, event in rows].count(True) == 1
        return record.status

    ends = await asyncio.gather(*(race(number) for number in range(24)))
    assert set(ends) == {"cancelled", "completed"}


async def test_two_bodies_at_once_under_one_key_make_one_generation(broker: Broker) -> None:
    """Whoever reserves the key has it; the others hear of the conflict, and leave nothing behind."""
    outcomes = await asyncio.gather(
        *(broker.submit(request(n, 0), tenant="a", idempotency_key="k") for n in (1, 2, 3, 1, 2, 3)),
        return_exceptions=True,
    )
    made = {outcome.record.id for outcome in outcomes if not isinstance(outcome, BaseException)}
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert len(made) == 1
    assert [type(error) for error in refused] == [IdempotencyConflict] * 4
    assert await broker.queue_length() == 1
    assert len((await broker.list(tenant="a")).records) == 1
    (elsewhere,) = {(await broker.submit(request(2, 0), tenant="b", idempotency_key="k")).record.id}
    assert elsewhere not in made


async def test_a_known_id_is_of_no_use_to_another_tenant(broker: Broker) -> None:
    """By no method of the real broker: resume, cancel and delete included; and nothing happens to it."""
    generation = (await broker.submit(request(3), tenant="a")).record.id

    async def resume(generation: str, *, tenant: str) -> object:
        return await anext(broker.tail(generation, tenant=tenant))

    methods: list[Callable[..., Awaitable[object]]] = [broker.get, broker.stat, broker.cancel, broker.delete, resume]
    methods.append(partial(broker.wait, timeout_s=1))
    for method in methods:
        with pytest.raises(GenerationNotFound):
            await method(generation, tenant="b")
    assert (await broker.get(generation, tenant="a")).status == "queued"


async def test_a_token_in_a_query_is_written_nowhere(
    start_node: StartNode, door: FakeDoor, caplog: pytest.LogCaptureFixture
) -> None:
    """Served, refused or broken: no line of any logger, and no byte of any answer, repeats it."""
    caplog.set_level(logging.DEBUG)
    node = await start_node(api_keys="acme:key")
    generation = door.create(*WHOLE, tenant="acme")
    bodies: list[bytes] = []
    queries = ["", "&last_event_id=wrong", "&format=wrong"]
    paths = [*(url(generation, f"?access_token={SECRET}{query}") for query in queries), f"/nowhere?api_key={SECRET}"]
    for path in paths:
        for headers in ({}, {"x_api_key": "key"}, {"x_api_key": SECRET}):
            async with RawClient(node.port) as client:
                await client.get(path, connection="close", **headers)
                await client.read_until(b"never there")
                bodies.append(client.head.encode() + client.body)
    door.surprise = KeyError("surprise")
    async with RawClient(node.port) as client:
        assert await client.get(f"/v1/generations?access_token={SECRET}", x_api_key="key") == 503
    assert SECRET not in caplog.text
    assert not any(SECRET.encode() in body for body in bodies)
