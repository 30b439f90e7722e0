"""Where a reader begins, and in which format it reads."""

from __future__ import annotations

import json

import pytest

from api.formats import MEDIA_TYPES
from api.params import preferred, wants_stream
from tests.api.conftest import StartNode
from tests.api.fake_door import EPOCH, FakeDoor
from tests.api.raw import RawClient
from tests.api.reading import NDJSON, WHOLE, ids, parsed, read, url
from tests.support.whatwg import EventSourceParser


async def test_a_whole_log_ends_cleanly_after_its_terminal_event(start_node: StartNode, door: FakeDoor) -> None:
    """Replayed merged by default, with the headers that keep proxies from meddling."""
    node = await start_node()
    generation = door.create(*WHOLE)
    client = await read(node, url(generation), accept="text/event-stream")
    assert client.end == "last chunk"
    events = parsed(client)
    assert [event.type for event in events] == [
        *("generation.created", "generation.started", "text.delta", "generation.completed")
    ]
    assert json.loads(events[2].data) == {"type": "text.delta", "block": 0, "text": "Hello", "merged": 2}
    assert ids(client) == ["1", "2", "4", "5"]
    for header in (
        *("content-type: text/event-stream\r\n", "cache-control: no-cache, no-transform\r\n"),
        *("x-accel-buffering: no\r\n", f"x-generation-id: {generation}\r\n", "x-rejoinder-node: node-1\r\n"),
    ):
        assert header in client.head
    assert "content-encoding" not in client.head
    assert "content-length" not in client.head
    assert node.metrics.events == 4
    assert node.metrics.broken.total() == 0
    assert door.reading == 0


async def test_retry_stands_inside_the_first_frame_and_is_jittered(start_node: StartNode, door: FakeDoor) -> None:
    """R2: never as a block of its own; around one second."""
    node = await start_node()
    generation = door.create(*WHOLE)
    seen: set[int] = set()
    for _ in range(8):
        client = await read(node, url(generation))
        block = client.body.split(b"\n\n")[0]
        assert block.index(b"retry: ") < block.index(b"data: ")
        assert client.body.count(b"retry:") == 1
        parser = EventSourceParser()
        parser.feed(client.body)
        assert parser.retry_ms is not None
        assert 500 <= parser.retry_ms <= 1500
        seen.add(parser.retry_ms)
    assert len(seen) > 1


@pytest.mark.parametrize(
    ("query", "header", "expected"),
    [
        ("", None, ["1", "2", "4", "5"]),
        ("", "", ["1", "2", "4", "5"]),
        ("", "0-0", ["1", "2", "4", "5"]),
        ("", f"{EPOCH}-2", ["4", "5"]),
        ("", f"{EPOCH}-3", ["4", "5"]),
        (f"?last_event_id={EPOCH}-4", None, ["5"]),
        ("?last_event_id=", None, ["1", "2", "4", "5"]),
        (f"?lastEventId={EPOCH}-4", None, ["5"]),
        (f"?lastEventId=nonsense&last_event_id={EPOCH}-4", None, ["5"]),
        (f"?last_event_id={EPOCH}-4", f"{EPOCH}-2", ["4", "5"]),
        (f"?last_event_id={EPOCH}-4", "", ["1", "2", "4", "5"]),
        ("?last_event_id=nonsense", f"{EPOCH}-4", ["5"]),
        ("?replay=exact", None, ["1", "2", "3", "4", "5"]),
    ],
)
async def test_a_reader_goes_on_where_it_stopped(
    start_node: StartNode, door: FakeDoor, query: str, header: str | None, expected: list[str]
) -> None:
    """By the header, else the query; an empty header is one, and means the start."""
    node = await start_node()
    headers = {} if header is None else {"last_event_id": header}
    client = await read(node, url(door.create(*WHOLE), query), **headers)
    assert ids(client) == expected


@pytest.mark.parametrize("value", ["-1", "x", "1", "1-", "-", "1-2-3", "01-1", "1-+2", " ", "١-١", "9" * 17 + "-1"])
async def test_a_malformed_position_is_a_400(start_node: StartNode, door: FakeDoor, value: str) -> None:
    """By name, whichever way it came."""
    node = await start_node()
    path = url(door.create(*WHOLE))
    quoted = value.encode().hex(" ").replace(" ", "%")
    async with RawClient(node.port) as client:
        assert await client.get(f"{path}?last_event_id=%{quoted}") == 400
        await client.read_until(b"bad_event_id")
        assert b'"field":"last_event_id"' in client.body
    if value.strip():
        async with RawClient(node.port) as client:
            assert await client.get(path, last_event_id=value.encode().decode("latin-1")) == 400


@pytest.mark.parametrize("accept", ["text/event-stream", NDJSON, "text/plain"])
async def test_at_the_terminal_event_there_is_nothing_more(start_node: StartNode, door: FakeDoor, accept: str) -> None:
    """204 stops EventSource for good."""
    node = await start_node()
    async with RawClient(node.port) as client:
        path = url(door.create(*WHOLE))
        assert await client.get(path, accept=accept, last_event_id=f"{EPOCH}-5") == 204
        assert "x-rejoinder-node: node-1" in client.head


@pytest.mark.parametrize("position", ["1-1", f"{EPOCH}-9", f"{EPOCH + 1}-2"])
async def test_a_position_of_another_log_means_reset(start_node: StartNode, door: FakeDoor, position: str) -> None:
    """And then the whole log."""
    node = await start_node()
    client = await read(node, url(door.create(*WHOLE)), last_event_id=position)
    events = parsed(client)
    assert events[0].type == "stream.reset"
    assert events[0].last_event_id == ""
    assert ids(client) == ["1", "2", "4", "5"]


async def test_what_is_not_there_is_said_before_the_stream_begins(start_node: StartNode, door: FakeDoor) -> None:
    """404 and 410, as problems."""
    node = await start_node()
    expired = door.create(*WHOLE)
    door.expire(expired)
    for generation, status, code in (("gen_none", 404, b"not_found"), (expired, 410, b"log_expired")):
        async with RawClient(node.port) as client:
            assert await client.get(url(generation)) == status
            await client.read_until(code)
            assert code in client.body


@pytest.mark.parametrize("query", ["?format=html", "?replay=fast", "?format="])
async def test_an_unknown_format_is_named(start_node: StartNode, door: FakeDoor, query: str) -> None:
    """422 with the parameter at fault."""
    node = await start_node()
    async with RawClient(node.port) as client:
        assert await client.get(url(door.create(*WHOLE), query)) == 422
        field = query[1:].partition("=")[0]
        await client.read_until(f'"field":"{field}"'.encode())
        assert f'"field":"{field}"'.encode() in client.body


@pytest.mark.parametrize(
    ("query", "accept", "media_type"),
    [
        ("", None, "text/event-stream"),
        ("", "*/*", "text/event-stream"),
        ("", "application/json", "text/event-stream"),
        ("", "image/png", "text/event-stream"),
        ("", "application/json, text/plain, */*", "text/event-stream"),
        ("", "text/plain", "text/plain"),
        ("", "text/plain;q=0.5, application/x-ndjson;q=0.9", NDJSON),
        ("", "application/X-NDJSON", NDJSON),
        ("", "text/plain;q=0, */*;q=0.1", "text/event-stream"),
        ("", "text/plain;q=x", "text/event-stream"),
        ("?format=sse", "text/plain", "text/event-stream"),
        ("?format=native", NDJSON, "text/event-stream"),
        ("?format=ndjson", "text/event-stream", NDJSON),
        ("?format=text", None, "text/plain"),
    ],
)
async def test_the_format_is_asked_for_by_name_or_by_accept(
    start_node: StartNode, door: FakeDoor, query: str, accept: str | None, media_type: str
) -> None:
    """The name wins; what says nothing clear gets SSE (R7)."""
    node = await start_node()
    headers = {} if accept is None else {"accept": accept}
    client = await read(node, url(door.create(*WHOLE), query), **headers)
    assert f"content-type: {media_type}" in client.head
    if media_type == "text/plain":
        assert client.body == b"Hello"
    if media_type == NDJSON:
        assert [json.loads(line)["id"] for line in client.body.splitlines()][-1] == f"{EPOCH}-5"


def test_accept_is_read_with_its_qualities() -> None:
    """The best, then the first."""
    assert preferred("text/plain;q=0.3,application/x-ndjson;q=0.4", MEDIA_TYPES) == "ndjson"
    assert preferred(None, MEDIA_TYPES) is None
    assert wants_stream("text/event-stream")
    assert wants_stream("text/event-stream, application/json")
    assert not wants_stream("application/json, text/event-stream;q=0.5")
    assert not wants_stream("*/*")
    assert not wants_stream("text/event-stream;q=0")
