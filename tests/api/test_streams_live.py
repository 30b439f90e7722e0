"""What is said while nothing happens, and how a stream ends: cleanly only after its terminal event."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import AsyncExitStack

import pytest

from broker.errors import LogDamaged
from broker.events import TextDelta
from tests.api.conftest import StartNode
from tests.api.fake_door import EPOCH, FakeDoor
from tests.api.raw import RawClient
from tests.api.reading import AGAIN, DONE, STARTED, WHOLE, ids, parsed, read, url
from tests.support.waiting import wait_until


async def test_live_events_follow_the_replay(start_node: StartNode, door: FakeDoor) -> None:
    """Each once, after one stream.live, until the end."""
    node = await start_node()
    generation = door.create(STARTED, TextDelta(0, "a"))
    async with RawClient(node.port) as client:
        await client.get(url(generation))
        await client.read_until(b"stream.live")
        for text in "bcd":
            door.append(generation, TextDelta(0, text))
            await client.read_until(b'"text":"%s"' % text.encode())
        door.append(generation, DONE)
        assert await client.read_all() == "last chunk"
    kinds = [event.type for event in parsed(client)]
    assert kinds.count("stream.live") == 1
    assert kinds[3:] == ["stream.live", *["text.delta"] * 3, "generation.completed"]
    assert ids(client) == ["1", "2", "3", "4", "5", "6", "7"]


async def test_silence_is_filled_with_comments_of_one_newline(start_node: StartNode, door: FakeDoor) -> None:
    """R1; and they stop counting as silence."""
    node = await start_node(heartbeat_s=0.02)
    generation = door.create()
    async with RawClient(node.port) as client:
        await client.get(url(generation))
        await client.read_until(b": hb\n: hb\n: hb\n")
        door.append(generation, DONE)
        assert await client.read_all() == "last chunk"
    assert b": hb\n\n" not in client.body
    assert [event.type for event in parsed(client)][-1] == "generation.completed"


async def test_ndjson_has_a_heartbeat_of_its_own_and_text_has_none(start_node: StartNode, door: FakeDoor) -> None:
    """Every line is JSON; every byte of text is the answer's."""
    node = await start_node(heartbeat_s=0.02)
    generation = door.create(STARTED)
    async with RawClient(node.port) as lines, RawClient(node.port) as text:
        await lines.get(url(generation, "?format=ndjson"))
        await text.get(url(generation, "?format=text"))
        await lines.read_until(b"stream.heartbeat")
        door.append(generation, TextDelta(0, "Hi"), DONE)
        assert await lines.read_all() == await text.read_all() == "last chunk"
    objects = [json.loads(line) for line in lines.body.splitlines()]
    assert {"id": None, "event": {"type": "stream.heartbeat"}} in objects
    assert text.body == b"Hi"


@pytest.mark.parametrize("how", ["away", "stuck"])
async def test_while_redis_is_away_a_stream_is_held_open(
    start_node: StartNode, door: FakeDoor, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """EventSource would give up for good on a 503; served when it is back."""
    monkeypatch.setattr("api.streams.LOOKUP_S", 0.02)
    node = await start_node(heartbeat_s=0.02)
    generation = door.create(*WHOLE)
    setattr(door, how, True)
    async with RawClient(node.port) as client:
        assert await client.get(url(generation)) == 200
        await client.read_until(b": hb\n: hb\n")
        door.come_back()
        assert await client.read_all() == "last chunk"
    assert ids(client) == ["1", "2", "4", "5"]
    parsed(client)


async def test_a_stream_is_held_no_longer_than_the_hold(start_node: StartNode, door: FakeDoor) -> None:
    """Then it is broken off, so that the reader tries again elsewhere."""
    node = await start_node()
    door.away = True
    door.hold_s = 0.05
    for query in ("", "?format=ndjson", "?format=text"):
        async with RawClient(node.port) as client:
            assert await client.get(url("gen_x", query)) == 200
            assert await client.read_all() == "closed"
    assert node.metrics.broken == {"log_unavailable": 3}


async def test_what_proves_absent_after_the_200_is_broken_off(start_node: StartNode, door: FakeDoor) -> None:
    """The next attempt gets its 404."""
    node = await start_node()
    door.away = True
    async with RawClient(node.port) as client:
        assert await client.get(url("gen_none")) == 200
        await client.read_until(b": hb\n")
        door.come_back()
        assert await client.read_all() == "closed"
        assert client.body == b": hb\n"
    async with RawClient(node.port) as client:
        assert await client.get(url("gen_none")) == 404


async def test_a_reader_at_the_end_of_a_held_log_is_let_go_cleanly(start_node: StartNode, door: FakeDoor) -> None:
    """It has everything; the 204 comes when it asks again."""
    node = await start_node()
    generation = door.create(*WHOLE)
    door.away = True
    async with RawClient(node.port) as client:
        assert await client.get(url(generation), last_event_id=f"{EPOCH}-5") == 200
        await client.read_until(b": hb\n")
        door.come_back()
        assert await client.read_all() == "last chunk"


async def test_a_log_that_is_lost_is_never_a_clean_end(start_node: StartNode, door: FakeDoor) -> None:
    """FLUSHALL under a reader."""
    node = await start_node()
    generation = door.create(STARTED)
    async with RawClient(node.port) as client:
        await client.get(url(generation))
        await client.read_until(b"stream.live")
        door.lose(generation)
        assert await client.read_all() == "closed"
    assert node.metrics.broken == {"log_lost": 1}


@pytest.mark.parametrize("error", [LogDamaged(), KeyError("surprise")])
async def test_any_error_breaks_the_stream_off(
    start_node: StartNode, door: FakeDoor, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Named in the metrics; one that nobody expected is logged as well."""
    node = await start_node()
    generation = door.create(STARTED)
    door.tail_error = error
    async with RawClient(node.port) as client:
        assert await client.get(url(generation)) == 200
        assert await client.read_all() == "closed"
    assert node.metrics.broken == {"log_damaged" if isinstance(error, LogDamaged) else "internal": 1}
    logged = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(logged) == (0 if isinstance(error, LogDamaged) else 1)


async def test_a_tail_that_stops_early_is_not_believed(start_node: StartNode, door: FakeDoor) -> None:
    """Without a terminal event there is no clean end, whoever made the mistake."""
    node = await start_node()
    generation = door.create(STARTED)
    door.ends_early = True
    async with RawClient(node.port) as client:
        await client.get(url(generation))
        assert await client.read_all() == "closed"


async def test_a_reader_that_goes_is_noticed_on_a_quiet_stream(start_node: StartNode, door: FakeDoor) -> None:
    """It stops counting as a viewer, and the generation goes on."""
    node = await start_node()
    generation = door.create(STARTED)
    async with RawClient(node.port) as client:
        await client.get(url(generation))
        await client.read_until(b"stream.live")
        assert node.metrics.viewers == door.reading == 1
        client.close()
        await wait_until(lambda: node.metrics.viewers == door.reading == 0)
    assert node.metrics.broken.total() == 0
    assert not door.logs[generation].ended


async def test_a_long_poll_whose_client_goes_is_given_up(start_node: StartNode, door: FakeDoor) -> None:
    """It counts as a viewer, so it must not be counted for a minute more."""
    node = await start_node()
    generation = door.create()
    async with RawClient(node.port) as client:
        client.send(f"GET /v1/generations/{generation}?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await wait_until(lambda: door.waiting == 1)
        client.close()
        await wait_until(lambda: door.waiting == 0)
    assert not door.logs[generation].ended


async def test_text_leaves_out_a_void_attempt_and_breaks_off_who_has_it(start_node: StartNode, door: FakeDoor) -> None:
    """Contract section 5, over the wire; a fresh reader gets only the answer that stands."""
    node = await start_node()
    generation = door.create(STARTED, TextDelta(0, "void"))
    path = url(generation, "?format=text")
    async with RawClient(node.port) as early:
        await early.get(path)
        await early.read_until(b"void")
        door.append(generation, AGAIN, TextDelta(0, "good"))
        assert await early.read_all() == "closed"
        assert early.body == b"void"
    async with RawClient(node.port) as late, RawClient(node.port) as again:
        await late.get(path)
        await late.read_until(b"good")
        await again.get(path, last_event_id=f"{EPOCH}-3")
        assert await again.read_all() == "closed"
        door.append(generation, DONE)
        assert await late.read_all() == "last chunk"
        assert (late.body, again.body) == (b"good", b"")
    assert node.metrics.broken == {"void_attempt": 2}
    assert (await read(node, path, last_event_id=f"{EPOCH}-4")).body == b"good"


async def test_many_readers_get_the_same(start_node: StartNode, door: FakeDoor) -> None:
    """On one node, joining at any time."""
    node = await start_node()
    generation = door.create(STARTED)
    clients: list[RawClient] = []
    async with AsyncExitStack() as stack:
        for text in "abcdefgh":
            client = await stack.enter_async_context(RawClient(node.port))
            await client.get(url(generation, "?replay=exact"))
            clients.append(client)
            door.append(generation, TextDelta(0, text))
        door.append(generation, DONE)
        ends = await asyncio.gather(*(client.read_all() for client in clients))
    assert set(ends) == {"last chunk"}
    assert {tuple(ids(client)) for client in clients} == {tuple(str(n) for n in range(1, 12))}
