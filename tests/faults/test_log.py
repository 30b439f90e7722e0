"""The log under lost replies, ids that come again, trims, crashes and a server that is emptied."""
# pyright: reportPrivateUsage=false
# (how often a connection sends is nobody else's business)

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from redis.crc import key_slot

from broker.client import Broker
from broker.errors import GenerationNotFound, LogDamaged, LogLost
from broker.events import TextDelta
from broker.keys import PERMANENT
from broker.redis import _Prompt, connect
from rejoinder.embedded import EmbeddedServer
from tests.broker.store import Store, Writer
from tests.broker.test_crashes import CUTS, Cut, crashed, wanted
from tests.chaos.proxy import FaultProxy
from tests.conftest import MakeSettings, StartWorker
from tests.integration.reading import events, last_position, read, request, stepped
from tests.support.history import Seen, Viewer, check
from tests.support.upstream import Reply, Upstream, chat_frames
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
async def server() -> AsyncIterator[EmbeddedServer]:
    """A server of this test's own."""
    async with EmbeddedServer() as started:
        yield started


async def truth_of(broker: Broker, generation: str) -> list[Seen]:
    """The whole log, read behind its end."""
    return [seen for seen in (await read(broker, generation)).seen if seen.id]


async def test_no_request_loses_its_first_event(broker: Broker, worker: asyncio.Event) -> None:
    """Eighty answers at once, faster than their readers subscribe: each reader has all of its own."""
    assert not worker.is_set()
    made = await asyncio.gather(*(broker.submit(request(5, 0, prompt=f"{n}")) for n in range(80)))
    viewers = await asyncio.gather(*(read(broker, submitted.record.id) for submitted in made))
    truth = {viewer.generation: await truth_of(broker, viewer.generation) for viewer in viewers}
    assert check(viewers, truth) == []
    assert all(next(s for s in viewer.seen if s.id).position[1] == 1 for viewer in viewers)


@pytest.fixture
async def proxy(redis_server: EmbeddedServer) -> AsyncIterator[FaultProxy]:
    """Between a worker and the server; it outlives the worker."""
    async with FaultProxy("127.0.0.1", redis_server.port) as opened:
        yield opened


async def test_dropped_replies_double_and_reorder_nothing(
    proxy: FaultProxy, start_worker: StartWorker, make_settings: MakeSettings, broker: Broker
) -> None:
    """The server has done what the worker thinks has failed, again and again: each entry stands once, in order."""
    await start_worker(make_settings(redis_url=f"redis://127.0.0.1:{proxy.port}/0", lease_s=10.0))
    with stepped(10) as steps:
        made = await broker.submit(request(100, delivery={"batch": "none"}, options={"seed": 3}))
        generation = made.record.id
        reading = asyncio.ensure_future(read(broker, generation))
        for seq in range(10, 90, 10):

            async def so_far(seq: int = seq) -> bool:
                return (await broker.stat(generation)).top.seq >= seq

            await wait_until(so_far)
            before = proxy.dropped
            proxy.drop_replies()
            steps.release()
            await wait_until(lambda before=before: proxy.dropped > before)
        for _ in range(3):
            steps.release()
        viewer = await asyncio.wait_for(reading, 20)
    truth = await truth_of(broker, generation)
    assert check([viewer], {generation: truth}) == []
    assert sum(s.kind == "text.delta" for s in truth) == 100
    assert (await broker.get(generation)).attempt == 1


async def test_a_retry_that_comes_late_writes_nothing(store: Store) -> None:
    """A, then B, then A once more: not A, B, A."""
    writer = await store.own(await store.submit())
    await writer.begin()
    await writer.say("A")
    await writer.say("B")
    assert (await writer.append(TextDelta(0, "A"), first=3)).kind == "ok"
    said = [event.text for _, event in await store.rows(writer.generation) if isinstance(event, TextDelta)]
    assert said == ["A", "B"]


async def test_an_append_is_one_round_trip(
    redis_server: EmbeddedServer, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries, number, lease, status and notice in one command: not three to five of them for each chunk."""
    client = connect(redis_server.url)
    store = Store.on(client, make_settings())
    writer = await store.own(await store.submit())
    await writer.begin()
    sent: list[object] = []
    send = _Prompt.send_packed_command

    async def counted(self: Any, command: Any, check_health: bool = True) -> None:
        sent.append(command)
        await send(self, command, check_health)

    monkeypatch.setattr(_Prompt, "send_packed_command", counted)
    await writer.say("a", "b", "c")
    monkeypatch.undo()
    await client.aclose()
    assert len(sent) == 1


async def test_an_id_that_is_made_again_never_continues_the_old_one(
    make_settings: MakeSettings, broker: Broker
) -> None:
    """Its log was lost, a retry makes it anew, a tab is open at another node: broken off or reset, never mixed."""
    store = Store.on(broker.redis, broker.settings)
    first = await broker.submit(wanted(), idempotency_key="k")
    generation = first.record.id
    writer = await store.own(generation)
    await writer.begin()
    await writer.say("old", "er")
    tab = Viewer("tab", generation)
    async with Broker(make_settings(node_name="other")) as other:
        reading = asyncio.ensure_future(read(other, generation, viewer=tab))
        await wait_until(lambda: len(tab.seen) > 3)
        await broker.redis.delete(store.keys.job(generation), store.keys.log(generation))
        again = await broker.submit(wanted(), idempotency_key="k")
        assert again.record.id == generation
        new = await store.own(generation, "b")
        await new.begin()
        await new.say("new", "er", "still")
        await new.end()
        lost = (await asyncio.gather(reading, return_exceptions=True))[0]
        assert isinstance(lost, Viewer | LogLost)
        if isinstance(lost, LogLost):
            await read(other, generation, last_position(tab), viewer=tab)
    truth = await truth_of(broker, generation)
    assert check([tab], {generation: truth}) == []
    assert "stream.reset" in events(tab)


async def test_a_trimmed_head_is_an_explicit_gap(broker: Broker) -> None:
    """We trim nothing; where somebody else has, a reader who is behind is told, and is not served the rest."""
    store = Store.on(broker.redis, broker.settings)
    writer = await store.own(await store.submit())
    await writer.begin()
    await writer.say("a", "b", "c", "d")
    behind = await read(broker, writer.generation, stop_after=3)
    await store.raw.xtrim(store.keys.log(writer.generation), maxlen=2, approximate=False)
    seen = len(behind.seen)
    with pytest.raises(LogDamaged):
        await read(broker, writer.generation, last_position(behind), viewer=behind)
    assert [s.kind for s in behind.seen[seen:]] == ["stream.reset"]
    with pytest.raises(LogDamaged):
        await broker.get(writer.generation)


async def test_flushall_stops_the_provider_and_tells_the_viewers(
    server: EmbeddedServer, make_settings: MakeSettings, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In mid-answer, all of it: the provider's socket is closed, the viewer is broken off, the id is unknown."""
    monkeypatch.setattr("broker.hub.AUDIT_S", 0.2)
    chunk = json.dumps({"id": "c", "choices": [{"index": 0, "delta": {"content": "word "}}]})
    async with Upstream() as upstream:
        key: dict[str, Any] = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": f"{upstream.url}/v1"}
        settings = make_settings(redis_url=server.url, lease_s=0.6, **key)
        upstream.replies.append(Reply(chat_frames([chunk] * 3), "stall"))
        stop = await start_worker(settings)
        async with Broker(settings) as broker:
            made = await broker.submit(wanted(model="openai/gpt-x"))
            viewer = Viewer("viewer", made.record.id)
            reading = asyncio.ensure_future(read(broker, made.record.id, viewer=viewer))
            await wait_until(lambda: any(s.kind == "text.delta" for s in viewer.seen))
            await cast("Any", broker.redis).flushall()
            await wait_until(lambda: upstream.live == 0, 5)
            with pytest.raises(LogLost):
                await asyncio.wait_for(reading, 5)
            with pytest.raises(GenerationNotFound):
                await broker.get(made.record.id)
            assert await broker.queue_length() == 0
            stop.set()
    assert viewer.clean_ends == 0


async def endless(store: Store, prefix: str) -> list[str]:
    """Keys without a TTL, beside the few that prune themselves."""
    names = [key.decode() async for key in store.raw.scan_iter(match="*", count=1000)]
    kept = {f"{prefix}:{name}" for name in PERMANENT} | {f"{prefix}:tenant:{tenant}" for tenant in ("a", "default")}
    ours = [name for name in names if name.startswith((f"{prefix}:", "arq:")) and name not in kept]
    return [name for name in ours if await store.raw.ttl(name) == -1]


@pytest.mark.parametrize("cut", CUTS)
async def test_a_submit_that_dies_leaves_no_key_for_ever(store: Store, key_prefix: str, cut: Cut) -> None:
    """Between any two of its steps."""
    await crashed(store, cut, wanted())
    assert await endless(store, key_prefix) == []


async def test_a_worker_that_dies_leaves_no_key_for_ever(store: Store, key_prefix: str) -> None:
    """Claimed, begun, said, watched, ended or not: no step takes a TTL away, and none makes a key without."""
    generation = await store.submit(on_disconnect={"cancel_after_s": 60})
    writer: Writer = await store.own(generation)
    assert await endless(store, key_prefix) == []
    for step in (writer.begin, lambda: writer.say("a"), lambda: store.scripts.watch(generation, "node", 1000)):
        await step()
        assert await endless(store, key_prefix) == []
    await writer.end()
    assert await endless(store, key_prefix) == []


def test_what_one_script_touches_is_in_one_slot(broker: Broker) -> None:
    """By the very function of Redis Cluster, whatever the prefix; other generations are elsewhere."""
    keys = broker.keys
    names = (keys.job, keys.log, keys.request, keys.viewers)
    slots = [{key_slot(name(generation).encode()) for name in names} for generation in ("gen_1", "gen_2", "gen_3")]
    assert [len(each) for each in slots] == [1, 1, 1]
    assert len({slot for each in slots for slot in each}) == 3
