"""Submits that are answered with their stream, also again after a cut."""

from __future__ import annotations

from tests.api.conftest import StartNode
from tests.api.fake_door import EPOCH, FakeDoor
from tests.api.raw import RawClient
from tests.api.reading import WHOLE, ids

POST = "POST /v1/generations HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"


async def post(client: RawClient, **headers: str) -> int:
    """Submit with SSE as the answer."""
    body = '{"model":"demo/demo-1","input":"x"}'
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    client.send(f"{POST}{lines}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    return await client.read_head()


async def test_a_submit_can_be_answered_with_its_stream(start_node: StartNode, door: FakeDoor) -> None:
    """200 at once, with its Location."""
    node = await start_node()
    async with RawClient(node.port) as client:
        assert await post(client) == 200
        (generation,) = door.logs
        assert f"location: /v1/generations/{generation}\r\n".lower() in client.head
        await client.read_until(b"stream.live")
        door.append(generation, *WHOLE)
        assert await client.read_all() == "last chunk"
    assert ids(client) == ["1", "2", "3", "4", "5"]


async def test_a_submit_repeated_after_a_cut_goes_on(start_node: StartNode, door: FakeDoor) -> None:
    """fetch-event-source POSTs again: the same key, the position it has."""
    node = await start_node()
    async with RawClient(node.port) as client:
        await post(client, idempotency_key="k")
        await client.read_until(b"stream.live")
    (generation,) = door.logs
    door.append(generation, *WHOLE)
    async with RawClient(node.port) as client:
        assert await post(client, idempotency_key="k", last_event_id=f"{EPOCH}-3") == 200
        assert "idempotent-replayed: true" in client.head
        await client.read_all()
    assert ids(client) == ["4", "5"]
    assert len(door.logs) == 1


async def test_resuming_a_submit_needs_its_key(start_node: StartNode, door: FakeDoor) -> None:
    """Without it the answer would be paid for twice."""
    node = await start_node()
    async with RawClient(node.port) as client:
        assert await post(client, last_event_id=f"{EPOCH}-3") == 409
        await client.read_until(b"resume_needs_key")
        assert b"resume_needs_key" in client.body
    assert door.logs == {}
    for position in ("", "0-0"):
        async with RawClient(node.port) as client:
            assert await post(client, last_event_id=position) == 200
