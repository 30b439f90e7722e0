"""How a socket is refused, and how it ends: a code says whether coming back will help."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from pydantic import SecretStr
from websockets.exceptions import InvalidStatus

from tests.api.conftest import StartNode
from tests.api.fake_door import FakeDoor
from tests.api.raw import RawClient
from tests.api.reading import DONE, STARTED
from tests.api.socket_client import open_socket
from tests.support.waiting import wait_until

KEYS = {"api_keys": {"ours": SecretStr("k-1"), "theirs": SecretStr("k-2")}}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("nonsense", "not valid JSON"),
        ("[]", "type"),
        ('{"type":"shout"}', "type"),
        ('{"type":"ping","more":1}', "field"),
        ('{"type":"subscribe"}', "field"),
        ('{"type":"subscribe","id":7}', "$.id"),
        ('{"type":"submit","ref":null,"request":{}}', "$.ref"),
        ('{"type":"cancel","id":"%s"}' % ("x" * 256), "255"),
        (b"\x00\x01", "text"),
    ],
)
async def test_what_is_no_message_closes_for_good(
    start_node: StartNode, caplog: pytest.LogCaptureFixture, said: str | bytes, reason: str
) -> None:
    """4500: the client is at fault, and would be again. Nothing of what it sent is repeated or logged."""
    node = await start_node()
    async with open_socket(node.port) as client:
        await client.connection.send(said)
        code, told = await client.closed()
    assert code == 4500
    assert reason in told
    assert node.metrics.broken == {"bad_message": 1}
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_message_that_is_too_large_closes_for_good(start_node: StartNode) -> None:
    """4502, and its sender has time to read it though it has not finished."""
    node = await start_node(max_body_bytes=1024)
    async with open_socket(node.port) as client:
        await client.connection.send(json.dumps({"type": "submit", "ref": 1, "request": "x" * 2_000_000}))
        assert (await client.closed())[0] == 4502
    await wait_until(lambda: node.metrics.broken == {"too_large": 1})


async def test_who_sends_too_much_is_listened_to_until_it_has_read_why(start_node: StartNode) -> None:
    """A reset in the middle of what it sends could overtake the close, and would look like a cut to come back from."""
    node = await start_node(max_body_bytes=1024)
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    offer = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    offer |= {
        "Host": "localhost",
        "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
        "Sec-WebSocket-Protocol": "rejoinder.v1",
    }
    lines = ["GET /v1/ws HTTP/1.1", *(f"{name}: {value}" for name, value in offer.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    writer.write(b"\x81\xff" + (32 * 2**20).to_bytes(8, "big") + bytes(4))
    assert int.from_bytes((await reader.readexactly(4))[2:], "big") == 4502
    for _ in range(31):
        writer.write(bytes(2**20))
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def test_text_that_is_no_utf_8_closes_for_good(start_node: StartNode) -> None:
    """4500: not even JSON."""
    node = await start_node()
    async with open_socket(node.port) as client:
        await client.connection.send(b"\xff\xff", text=True)
        assert (await client.closed())[0] == 4500


@pytest.mark.parametrize(
    "asked",
    [
        {"subprotocols": ("rejoinder.v1", "bearer.k-1")},
        {"subprotocols": ("bearer.k-1", "rejoinder.v1")},
        {"additional_headers": {"Authorization": "Bearer k-1"}},
        {"additional_headers": {"X-Api-Key": "k-1"}},
    ],
)
async def test_a_key_comes_as_a_header_or_as_a_subprotocol(
    start_node: StartNode, door: FakeDoor, asked: dict[str, Any]
) -> None:
    """Only the protocol is answered, never the key; the tenant sees its own."""
    node = await start_node(**KEYS)
    ours, theirs = door.create(STARTED, DONE, tenant="ours"), door.create(tenant="theirs")
    async with open_socket(node.port, **asked) as client:
        assert client.connection.subprotocol == "rejoinder.v1"
        assert client.connection.response is not None
        assert client.connection.response.headers["X-Rejoinder-Node"] == "node-1"
        await client.say("subscribe", id=ours)
        await client.until("generation.completed")
        await client.say("subscribe", id=theirs)
        assert (await client.until("error"))["code"] == "not_found"


@pytest.mark.parametrize("offers", [("rejoinder.v1",), ("rejoinder.v1", "bearer.k-3"), ("rejoinder.v1", "bearer.")])
async def test_without_a_key_it_closes_for_good(start_node: StartNode, offers: tuple[str, ...]) -> None:
    """4501: a browser would see nothing of a refused handshake, and come back for ever."""
    node = await start_node(**KEYS)
    async with open_socket(node.port, subprotocols=offers) as client:
        assert (await client.closed())[0] == 4501


@pytest.mark.parametrize(
    ("asked", "status", "code"),
    [
        ({"origin": "https://evil.example"}, 403, "forbidden"),
        ({"origin": "http://127.0.0.1:1"}, 403, "forbidden"),
        ({"origin": "null"}, 403, "forbidden"),
        ({"name": "evil.example"}, 403, "forbidden"),
        ({"subprotocols": ()}, 400, "bad_request"),
        ({"subprotocols": ("chat",)}, 400, "bad_request"),
        ({"path": "/v1/other"}, 404, "not_found"),
    ],
)
async def test_a_handshake_that_is_refused(
    start_node: StartNode, asked: dict[str, Any], status: int, code: str
) -> None:
    """Pages of other sites get no socket on an open node; the rest is a problem like any other."""
    node = await start_node()
    with pytest.raises(InvalidStatus) as caught:
        async with open_socket(node.port, **asked):
            pass
    response = caught.value.response
    assert response.status_code == status
    assert response.headers["X-Rejoinder-Node"] == "node-1"
    assert json.loads(response.body)["code"] == code
    assert node.metrics.sockets == 0


async def test_pages_of_this_node_and_of_configured_origins_may(start_node: StartNode) -> None:
    """The Origin of a page has the scheme of the page."""
    node = await start_node(cors_origins=["https://app.example"])
    for origin in (f"http://127.0.0.1:{node.port}", "https://app.example"):
        async with open_socket(node.port, origin=origin) as client:
            await client.barrier()
            assert client.connection.subprotocol == "rejoinder.v1"


async def test_a_plain_get_is_told_what_it_is(start_node: StartNode) -> None:
    """A proxy that does not pass Upgrade looks like this."""
    node = await start_node()
    async with RawClient(node.port) as client:
        assert await client.get("/v1/ws") == 426
        assert "upgrade: websocket" in client.head
        await client.read_until(b"upgrade_required")


async def test_nothing_is_compressed(start_node: StartNode) -> None:
    """What is made once for all sockets is the same on all of them."""
    node = await start_node()
    async with open_socket(node.port, compression="deflate") as client:
        assert client.connection.response is not None
        assert "Sec-WebSocket-Extensions" not in client.connection.response.headers
        await client.barrier()


async def test_a_node_that_leaves_says_so(start_node: StartNode, door: FakeDoor) -> None:
    """4001, and nobody waits for it."""
    node = await start_node()
    generation = door.create(STARTED)
    async with open_socket(node.port) as client, open_socket(node.port) as idle:
        await client.say("subscribe", id=generation)
        await client.until("stream.live")
        await idle.barrier()
        node.server.stop()
        assert await client.closed() == (4001, "drain")
        assert await idle.closed() == (4001, "drain")
    await asyncio.wait_for(node.task, 3)
    assert node.metrics.broken == {"drain": 2}
    assert (node.metrics.viewers, node.metrics.sockets, door.reading) == (0, 0, 0)


async def test_redis_away_for_too_long_says_so(start_node: StartNode, door: FakeDoor) -> None:
    """4003: at once for a submit it is an error, but a reader's position is safe with the reader."""
    node = await start_node()
    generation = door.create(STARTED)
    door.away, door.hold_s = True, 0.01
    async with open_socket(node.port) as client:
        await client.say("subscribe", id=generation)
        assert await client.closed() == (4003, "log_unavailable")


async def test_a_fault_of_ours_says_so_once_and_is_logged(
    start_node: StartNode, door: FakeDoor, caplog: pytest.LogCaptureFixture
) -> None:
    """4000, from a reader and from a command alike."""
    node = await start_node()
    generation = door.create(STARTED)
    for kind in ("subscribe", "cancel"):
        async with open_socket(node.port) as client:
            door.surprise = RuntimeError("nobody expects this")
            await client.say(kind, id=generation)
            assert await client.closed() == (4000, "internal")
        door.surprise = None
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert node.metrics.broken == {"internal": 2}


async def test_a_log_that_ends_without_its_end_is_a_fault(
    start_node: StartNode, door: FakeDoor, caplog: pytest.LogCaptureFixture
) -> None:
    """It must never look complete."""
    node = await start_node()
    door.ends_early = True
    generation = door.create(STARTED)
    async with open_socket(node.port) as client:
        await client.say("subscribe", id=generation)
        assert await client.closed() == (4000, "internal")


async def test_who_hangs_up_is_forgotten(
    start_node: StartNode, door: FakeDoor, caplog: pytest.LogCaptureFixture
) -> None:
    """Orderly or not; nothing is logged, nothing is left."""
    node = await start_node()
    generation = door.create(STARTED)
    for orderly in (True, False):
        async with open_socket(node.port) as client:
            await client.say("subscribe", id=generation)
            await client.until("stream.live")
            if not orderly:
                client.connection.transport.abort()
        await wait_until(lambda: (node.metrics.viewers, node.metrics.sockets, door.reading) == (0, 0, 0))
    assert not node.metrics.broken
    assert caplog.records == []


async def test_pings_come_by_themselves(start_node: StartNode) -> None:
    """WS-12: whoever answers none for the send timeout is let go."""
    node = await start_node(heartbeat_s=0.02, send_timeout_s=0.05)
    async with open_socket(node.port) as client:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.hear(), 0.3)
        await client.barrier()
    async with RawClient(node.port) as deaf:
        key = {"Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec_WebSocket_Version": "13"}
        status = await deaf.get(
            "/v1/ws", Upgrade="websocket", Connection="upgrade", Sec_WebSocket_Protocol="rejoinder.v1", **key
        )
        assert status == 101
        await deaf.read_until((4002).to_bytes(2, "big"))
    assert b"\x89\x04" in deaf.body
    await wait_until(lambda: node.metrics.broken == {"stalled": 1})
