"""Bodies that are too large, and what every response carries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx2
import pytest
from starlette.types import Message

from api.limits import Body
from broker.errors import BodyTooLarge
from tests.api.conftest import MakeClient, StartNode
from tests.api.fake_door import FakeDoor
from tests.api.raw import RawClient

LIMIT = 1024


def body_of(size: int) -> bytes:
    """A good request of exactly this many bytes."""
    head = json.dumps({"model": "demo/demo-1", "input": ""}).encode()
    return head.replace(b'""', b'"%s"' % (b"x" * (size - len(head))))


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    """A body without a length."""
    for start in range(0, len(body), 100):
        yield body[start : start + 100]


@pytest.mark.parametrize("chunked", [False, True])
async def test_the_limit_is_the_last_size_that_fits(make_client: MakeClient, chunked: bool) -> None:
    """With and without a Content-Length."""
    headers = {"content-type": "application/json"}
    async with make_client(max_body_bytes=LIMIT) as client:
        for size, status in ((LIMIT, 202), (LIMIT + 1, 413)):
            content = pieces(body_of(size)) if chunked else body_of(size)
            answer = await client.post("/v1/generations", content=content, headers=headers)
            assert answer.status_code == status
        assert answer.json()["code"] == "body_too_large"
        assert answer.headers["x-rejoinder-node"] == "node-1"


async def test_an_announced_length_is_refused_unread(make_client: MakeClient) -> None:
    """Nothing needs to be received to know."""
    async with make_client(max_body_bytes=LIMIT) as client:
        answer = await client.post("/v1/models", content=body_of(LIMIT + 1))
        assert answer.status_code == 413


async def test_reading_stops_at_the_limit() -> None:
    """A sender without end is not listened to without end."""
    received = 0

    async def receive() -> dict[str, object]:
        nonlocal received
        received += 1
        return {"type": "http.request", "body": b"x" * 100, "more_body": True}

    async def send(message: object) -> None:
        pass

    body = Body(receive, send, LIMIT)  # pyright: ignore[reportArgumentType]
    with pytest.raises(BodyTooLarge):
        while True:
            await body.receive()
    assert received == LIMIT // 100 + 1


async def test_the_rest_of_a_refused_body_is_thrown_away_before_the_connection_closes() -> None:
    """The answer is out at once; its last message, on which the server closes, waits for the sender."""
    steps: list[object] = []
    left: list[dict[str, object]] = [
        {"type": "http.request", "body": b"x" * LIMIT, "more_body": more} for more in (True, True, True, False)
    ]

    async def receive() -> dict[str, object]:
        steps.append("receive")
        return left.pop(0)

    async def send(message: Message) -> None:
        steps.append((message["type"], message.get("more_body")))

    body = Body(receive, send, LIMIT)  # pyright: ignore[reportArgumentType]
    await body.receive()
    with pytest.raises(BodyTooLarge):
        await body.receive()
    steps.clear()
    await body.send({"type": "http.response.start", "status": 413, "headers": []})
    await body.send({"type": "http.response.body", "body": b"{}"})
    assert steps == [
        ("http.response.start", None),
        ("http.response.body", True),
        *("receive", "receive"),
        ("http.response.body", False),
    ]


@pytest.mark.parametrize("announced", [True, False])
async def test_the_sender_gets_to_see_the_413(start_node: StartNode, announced: bool) -> None:
    """Over a real socket: a connection closed under its hands would be reset before it could read."""
    node = await start_node(max_body_bytes=LIMIT)
    size = 4 * 2**20
    async with RawClient(node.port) as client:
        framing = f"Content-Length: {size}" if announced else "Transfer-Encoding: chunked"
        client.send(f"POST /v1/generations HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n".encode())
        client.send(b"x" * size if announced else b"%x\r\n%s\r\n0\r\n\r\n" % (size, b"x" * size))
        assert await client.read_head() == 413
        assert "connection: close" in client.head
        await asyncio.wait_for(client.read_until(b"body_too_large"), 5)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/livez"), ("GET", "/nowhere"), ("PUT", "/v1/models"), ("POST", "/v1/generations"), ("GET", "/metrics")],
)
async def test_every_response_names_its_node(client: httpx2.AsyncClient, method: str, path: str) -> None:
    """Whatever its status."""
    assert (await client.request(method, path)).headers["x-rejoinder-node"] == "node-1"


async def test_cors_exposes_our_headers_to_configured_origins(make_client: MakeClient) -> None:
    """And to nobody else; caches are told that it depends."""
    async with make_client(cors_origins="https://a.example", insecure=True) as client:
        good = await client.get("/v1/models", headers={"origin": "https://a.example"})
        assert good.headers["access-control-allow-origin"] == "https://a.example"
        assert good.headers["vary"] == "Origin"
        for name in ("Location", "X-Rejoinder-Node", "X-Generation-Id", "Retry-After", "Idempotent-Replayed"):
            assert name in good.headers["access-control-expose-headers"]
        for headers in ({"origin": "https://b.example"}, {}):
            other = await client.get("/v1/models", headers=headers)
            assert "access-control-allow-origin" not in other.headers
            assert other.headers["vary"] == "Origin"


async def test_errors_can_be_read_across_origins_too(make_client: MakeClient) -> None:
    """A page has to see why it was refused."""
    async with make_client(cors_origins="*", api_keys="a:k") as client:
        answer = await client.get("/v1/models", headers={"origin": "https://b.example"})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, "*")


async def test_a_preflight_is_answered_without_a_key(make_client: MakeClient) -> None:
    """Browsers ask without credentials."""
    ask = {"origin": "https://a.example", "access-control-request-method": "POST"}
    async with make_client(cors_origins="https://a.example", api_keys="a:k") as client:
        wanted = {**ask, "access-control-request-headers": "authorization,x-stainless-os"}
        answer = await client.options("/v1/generations", headers=wanted)
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == "https://a.example"
        assert answer.headers["access-control-allow-headers"] == "authorization,x-stainless-os"
        assert "DELETE" in answer.headers["access-control-allow-methods"]
        odd = {**ask, "access-control-request-headers": "a b"}
        answer = await client.options("/v1/generations", headers=odd)
        assert "idempotency-key" in answer.headers["access-control-allow-headers"]
        refused = await client.options("/v1/generations", headers={**ask, "origin": "https://b.example"})
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


async def test_without_cors_a_preflight_is_just_a_wrong_method(make_client: MakeClient, door: FakeDoor) -> None:
    """And permits nothing."""
    del door
    async with make_client(api_keys="a:k") as client:
        headers = {"origin": "https://a.example", "access-control-request-method": "POST"}
        answer = await client.options("/v1/models", headers=headers)
        assert answer.status_code == 405
        assert not any(name.startswith("access-control") for name in answer.headers)
