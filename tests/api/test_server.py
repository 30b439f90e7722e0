"""The server under a node: how a body is broken off, what a slow reader costs, and how a node leaves."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from api.protocol import HEAD_LIMIT
from api.server import SEND_BUFFER, USER_TIMEOUT_MS, listen
from broker.events import Completed, Started, TextDelta
from rejoinder.embedded import EmbeddedServer
from tests.api.conftest import StartNode
from tests.api.fake_door import FakeDoor
from tests.api.raw import RawClient
from tests.support.waiting import wait_until

STARTED = Started(1, "restart", "demo", "demo-1")
DONE = Completed("stop")
READY = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def url(generation: str) -> str:
    """The path of a generation's events."""
    return f"/v1/generations/{generation}/events"


@pytest.mark.parametrize(("version", "clean", "broken"), [("1.1", "last chunk", "closed"), ("1.0", "closed", "reset")])
async def test_a_broken_body_never_looks_complete(
    start_node: StartNode, door: FakeDoor, caplog: pytest.LogCaptureFixture, version: str, clean: str, broken: str
) -> None:
    """Chunked: no last chunk. HTTP/1.0 (nginx's default): a reset, because there a FIN is a clean end."""
    node = await start_node()
    whole, cut = door.create(STARTED, DONE), door.create(STARTED)
    async with RawClient(node.port, version=version) as client:
        assert await client.get(url(whole)) == 200
        assert client.chunked is (version == "1.1")
        assert await client.read_all() == clean
        assert client.body.endswith(b"\n\n")
        assert client.body.startswith(b"retry:")
    async with RawClient(node.port, version=version) as client:
        await client.get(url(cut))
        await client.read_until(b"stream.live")
        door.lose(cut)
        assert await client.read_all() == broken
    assert caplog.records == []


async def test_http_1_0_gets_plain_answers_too(start_node: StartNode) -> None:
    """With their length, and without chunks."""
    node = await start_node()
    async with RawClient(node.port, version="1.0") as client:
        assert await client.get("/livez") == 200
        assert await client.read_all() == "closed"
        assert client.body == b'{"status":"alive"}'


async def test_a_connection_serves_one_request_after_the_other(start_node: StartNode, door: FakeDoor) -> None:
    """Also after a stream that ended cleanly, and when they were sent in one go."""
    node = await start_node()
    path = url(door.create(STARTED, DONE))
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    async with RawClient(node.port) as client:
        client.send(request + request)
        for _ in range(2):
            assert await client.read_head() == 200
            assert await client.read_all() == "last chunk"
            client.end = None
        client.send(READY)
        assert await client.read_head() == 200


async def test_breaking_one_stream_off_does_not_answer_the_next(start_node: StartNode, door: FakeDoor) -> None:
    """A pipelined request behind it is lost with the connection, not served on a broken body."""
    node = await start_node()
    generation = door.create(STARTED)
    async with RawClient(node.port) as client:
        client.send(f"GET {url(generation)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() + READY)
        await client.read_head()
        await client.read_until(b"stream.live")
        door.lose(generation)
        assert await client.read_all() == "closed"
        assert b"ready" not in client.body


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nbad header\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * HEAD_LIMIT + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * HEAD_LIMIT + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 40_000 + b"\r\n", 431),
    ],
)
async def test_what_is_no_http_gets_a_problem_too(start_node: StartNode, raw: bytes, status: int) -> None:
    """Whoever speaks wrongly still gets an answer that can be read."""
    node = await start_node()
    async with RawClient(node.port) as client:
        client.send(raw)
        assert await client.read_head() == status
        assert "content-type: application/problem+json" in client.head
        assert "x-rejoinder-node: node-1" in client.head
        await client.read_until(b"code")
        assert json.loads(client.body)["status"] == status


async def test_accepted_sockets_are_bounded(start_node: StartNode) -> None:
    """By what they inherit from the listener."""
    node = await start_node()
    async with RawClient(node.port) as client:
        client.send(READY)
        await client.read_head()
        connection = node.connection
        sock = connection.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * SEND_BUFFER
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == USER_TIMEOUT_MS


def test_a_listener_can_be_handed_over() -> None:
    """By its file descriptor; it gets the same limits."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        sock = listen("127.0.0.1", 0, os.dup(bound.fileno()))
        with sock:
            assert sock.getsockname() == bound.getsockname()
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * SEND_BUFFER
    with listen("::1", 0) as six:
        assert six.family is socket.AF_INET6


PIECE = "x" * 8192


async def test_a_slow_reader_costs_bounded_memory_and_stays(start_node: StartNode, door: FakeDoor) -> None:
    """It is read for from the log at its own pace; in the end it has everything."""
    node = await start_node()
    generation = door.create(STARTED)
    async with RawClient(node.port, receive_buffer=4096) as client:
        await client.get(f"{url(generation)}?replay=exact")
        await client.read_until(b"stream.live")
        connection = node.connection
        for _ in range(200):
            door.append(generation, TextDelta(0, PIECE))
            await asyncio.sleep(0)
        await wait_until(lambda: connection.flow.write_paused)
        assert connection.transport.get_write_buffer_size() < 300_000
        door.append(generation, DONE)
        assert await client.read_all() == "last chunk"
    assert client.body.count(PIECE.encode()) == 200


async def test_a_reader_that_takes_nothing_is_broken_off(start_node: StartNode, door: FakeDoor) -> None:
    """After the send timeout; nobody else notices."""
    node = await start_node(send_timeout_s=0.1)
    generation = door.create(STARTED)
    async with RawClient(node.port, receive_buffer=4096) as stuck, RawClient(node.port) as other:
        await stuck.get(url(generation))
        await stuck.read_until(b"stream.live")
        stuck.pause()
        await other.get(url(generation))
        await other.read_until(b"stream.live")
        reading = asyncio.get_running_loop().create_task(other.read_all())
        while not node.metrics.broken:
            door.append(generation, TextDelta(0, PIECE))
            await asyncio.sleep(0)
            assert len(door.logs[generation].entries) < 100_000
        await wait_until(lambda: node.metrics.viewers == 1)
        door.append(generation, DONE)
        assert await reading == "last chunk"
    assert node.metrics.broken == {"stalled": 1}


async def test_leaving_breaks_streams_off_and_answers_long_polls(start_node: StartNode, door: FakeDoor) -> None:
    """The node is gone at once, however many are reading; a poll gets the record as it stands."""
    node = await start_node()
    generation = door.create(STARTED)
    async with RawClient(node.port) as stream, RawClient(node.port) as old, RawClient(node.port) as poll:
        await stream.get(url(generation))
        await stream.read_until(b"stream.live")
        old_status = asyncio.get_running_loop().create_task(old.get(f"/v1/generations/{generation}?wait=0.001"))
        assert await old_status == 200
        poll.send(f"GET /v1/generations/{generation}?wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await wait_until(lambda: door.waiting == 1)
        node.server.stop()
        assert await poll.read_head() == 200
        await poll.read_until(b'"status":"running"')
        assert await stream.read_all() == "closed"
        await asyncio.wait_for(node.task, 5)
    assert node.metrics.broken == {"drain": 1}
    assert door.reading == door.waiting == 0
    with pytest.raises(ConnectionRefusedError):
        await RawClient(node.port).__aenter__()


async def test_a_node_serves_on_unready_for_the_drain_delay(start_node: StartNode, door: FakeDoor) -> None:
    """So that load balancers see it before connections are refused; told twice, it does not wait."""
    node = await start_node(drain_delay_s=60)
    generation = door.create(STARTED, DONE)
    async with RawClient(node.port) as stream:
        await stream.get(url(door.create(STARTED)))
        node.server.stop()
        await wait_until(node.app.state.node.drain.begun.is_set)
        async with RawClient(node.port) as client:
            client.send(READY)
            assert await client.read_head() == 503
            assert "connection: close" in client.head
            await client.read_until(b"draining")
            assert b'"code":"draining"' in client.body
        async with RawClient(node.port) as client:
            assert await client.get(url(generation)) == 200
            assert await client.read_all() == "last chunk"
        async with RawClient(node.port) as client:
            assert await client.get("/livez") == 200
        assert node.metrics.viewers == 1
        node.server.stop()
        assert await stream.read_all() == "closed"
        await asyncio.wait_for(node.task, 5)


async def test_a_stream_that_comes_in_while_leaving_is_broken_off_too(start_node: StartNode, door: FakeDoor) -> None:
    """A request may already be on its way when the window opens."""
    node = await start_node()
    door.stuck = True
    async with RawClient(node.port) as client:
        client.send(f"GET {url(door.create(STARTED))} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await wait_until(lambda: bool(node.server.server_state.tasks))
        node.app.state.node.drain.break_off(0)
        door.come_back()
        assert await client.read_head() == 200
        assert await client.read_all() == "closed"


async def test_a_reader_that_does_not_read_can_not_keep_a_node(
    start_node: StartNode, door: FakeDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is left in its buffers is cut."""
    monkeypatch.setattr("api.server.FLUSH_S", 0.05)
    node = await start_node()
    generation = door.create(STARTED)
    async with RawClient(node.port, receive_buffer=4096) as client:
        await client.get(url(generation))
        client.pause()
        connection = node.connection
        for _ in range(200):
            door.append(generation, TextDelta(0, PIECE))
            await asyncio.sleep(0)
        await wait_until(lambda: connection.flow.write_paused)
        node.server.stop()
        await asyncio.wait_for(node.task, 5)
        assert connection.transport.is_closing()


RUN = "from api.main import run; run(port=0, fd={fd})"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("sig", "version", "end"), [(signal.SIGTERM, "1.1", "closed"), (signal.SIGINT, "1.0", "reset")]
)
async def test_a_signal_ends_the_process_with_0(
    redis_server: EmbeddedServer, key_prefix: str, sig: int, version: str, end: str
) -> None:
    """Also with a stream open, and soon; the real process, on the loop it really uses."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
        env = {**os.environ, "REJOINDER_REDIS_URL": redis_server.url, "REJOINDER_KEY_PREFIX": key_prefix}  # noqa: TID251 - for a child
        command = [sys.executable, "-c", RUN.format(fd=bound.fileno())]
        process = subprocess.Popen(command, env=env, pass_fds=[bound.fileno()], stderr=subprocess.PIPE)  # noqa: ASYNC220 - starting is quick, and nothing else runs
    try:
        async with RawClient(port) as client:
            body = '{"model":"demo/demo-1","input":"x","retention_s":1,"deadline_s":1}'
            head = f"POST /v1/generations HTTP/{version}\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
            client.send(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            assert await client.read_head() == 200
            await client.read_until(b"stream.live")
            process.send_signal(sig)
            assert await client.read_all() == end
        assert await asyncio.to_thread(process.wait, 5) == 0
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.communicate()
