"""The writing end: few writes, none torn, and a timeout that is for taking nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import ASGIApp, Message

from api.protocol import in_kernel  # its caller needs a socket that dies in time
from api.wire import EXTENSION, WRITE_LIMIT, BrokenOff, Stalled, Wire, joined
from tests.support.waiting import wait_until


class FakeConnection:
    """A connection whose reader takes what the test says, each time it is looked at."""

    def __init__(self, unsent: list[int], *, writable: bool = False) -> None:
        self.writable = writable
        self.stream: ASGIApp | None = None
        self.chunked = True
        self.written: list[bytes] = []
        self.broken: list[bool] = []
        self._unsent = unsent

    def unsent(self) -> int:
        """What the reader has left over."""
        return self._unsent.pop(0) if len(self._unsent) > 1 else self._unsent[0]

    def write(self, data: bytes) -> bool:
        """Take it, or not."""
        if self.writable:
            self.written.append(data)
        return self.writable

    def watch(self, lost: Callable[[], None]) -> None:
        """Nobody goes."""

    def break_off(self, *, now: bool) -> None:
        """Remember it."""
        self.broken.append(now)


class Sent:
    """The messages that went out; ``blocked`` = how many sends wait for ever before one goes through."""

    def __init__(self, blocked: int = 0) -> None:
        self.bodies: list[bytes] = []
        self._blocked = blocked

    async def __call__(self, message: Message) -> None:
        """Send."""
        if self._blocked:
            self._blocked -= 1
            await asyncio.Event().wait()
        self.bodies.append(message["body"])


def wire(sent: Sent, connection: FakeConnection | None = None, timeout_s: float = 0.01) -> Wire:
    """A wire on this connection."""
    scope: dict[str, Any] = {"extensions": {EXTENSION: connection} if connection else {}}
    return Wire(scope, sent, timeout_s)


async def test_a_reader_that_takes_a_little_is_not_stuck() -> None:
    """As long as each timeout has seen it take something."""
    sent = Sent(blocked=3)
    await wire(sent, FakeConnection([900, 800, 700, 600])).write(b"x")
    assert sent.bodies == [b"x"]


async def test_a_reader_that_takes_nothing_is_stuck() -> None:
    """One whole timeout without a byte is enough."""
    sent = Sent(blocked=3)
    with pytest.raises(Stalled):
        await wire(sent, FakeConnection([900, 800, 800])).write(b"x")
    assert sent.bodies == []


async def test_without_our_server_a_send_has_one_timeout() -> None:
    """Nobody can tell whether anything was taken; and the only way to break off is to raise."""
    target = wire(Sent(blocked=1))
    with pytest.raises(Stalled):
        await target.write(b"x")
    with pytest.raises(BrokenOff, match="drain"):
        target.break_off("drain")


async def test_a_writable_connection_sets_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hot path is a write and nothing else."""
    monkeypatch.delattr(asyncio, "timeout")
    sent = Sent()
    await wire(sent, FakeConnection([0], writable=True)).write(b"x")
    assert sent.bodies == [b"x"]


def test_only_a_stuck_reader_loses_what_is_in_the_buffers() -> None:
    """Others get what was written before the break."""
    connection = FakeConnection([0])
    wire(Sent(), connection).break_off("drain")
    wire(Sent(), connection).break_off("stalled")
    assert connection.broken == [False, True]


@given(st.lists(st.integers(0, WRITE_LIMIT * 2), max_size=12))
def test_pieces_are_joined_up_to_the_limit_and_never_torn(sizes: list[int]) -> None:
    """What one write may hold beyond the limit is the piece that crossed it."""
    pieces = [bytes([index + 1]) * size for index, size in enumerate(sizes)]
    writes = joined(pieces)
    assert b"".join(writes) == b"".join(pieces)
    edges = {sum(sizes[:count]) for count in range(len(sizes) + 1)}
    at = 0
    for body in writes:
        at += len(body)
        assert at in edges
        assert len(body) < WRITE_LIMIT + max(sizes)
    assert all(len(body) >= WRITE_LIMIT for body in writes[:-1])


@given(st.binary(min_size=1, max_size=300))
def test_a_frame_for_the_socket_is_one_chunk_of_the_body(body: bytes) -> None:
    """RFC 9112, 7.1: its size in hex, and its bytes; without chunks it is the bytes themselves."""
    connection = FakeConnection([0], writable=True)
    target = wire(Sent(), connection)
    size, _, rest = target.frame(body).partition(b"\r\n")
    assert (int(size, 16), rest) == (len(body), body + b"\r\n")
    assert target.push(b"x")
    connection.chunked = connection.writable = False
    assert target.frame(body) == body
    assert not target.push(b"y")
    assert connection.written == [b"x"]


async def test_a_socket_that_was_reset_has_nothing_unsent() -> None:
    """The other side's reset closes the socket under us, between two looks."""
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    transport.abort()
    theirs.close()
    await wait_until(lambda: transport.get_extra_info("socket").fileno() == -1)
    assert in_kernel(transport) == 0
