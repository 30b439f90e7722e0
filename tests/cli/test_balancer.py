"""The round robin: bytes untouched, ends passed on as what they are, dead backends skipped, buffers bounded."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Self

import pytest

from rejoinder.balancer import Backend, Balancer
from rejoinder.ports import LOOPBACK, free_port
from tests.support.waiting import wait_until


class Peer:
    """A backend that hands its connections to the test."""

    def __init__(self) -> None:
        self.accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self.backend = Backend(LOOPBACK, 0)
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, 0)
        self.backend = Backend(LOOPBACK, self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        await self.accepted.put((reader, writer))


@pytest.fixture
async def owned() -> AsyncIterator[AsyncExitStack]:
    """Closes what a test has opened."""
    async with AsyncExitStack() as stack:
        yield stack


async def dial(balancer: Balancer, owned: AsyncExitStack) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection through the balancer, held until the test ends."""
    reader, writer = await asyncio.open_connection(balancer.host, balancer.port)
    # The writer itself is kept: Python closes the connection of one that nobody holds.
    owned.callback(reset, writer)
    return reader, writer


def reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection as a crash would, if it is not broken yet."""
    if writer.is_closing():
        return
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def test_bytes_pass_both_ways_and_a_half_close_stays_one(owned: AsyncExitStack) -> None:
    """After the client's FIN the answer still comes."""
    peer = await owned.enter_async_context(Peer())
    balancer = await owned.enter_async_context(Balancer([peer.backend]))
    reader, writer = await dial(balancer, owned)
    upload = bytes(range(256)) * 2000
    writer.write(upload)
    writer.write_eof()
    far_reader, far_writer = await peer.accepted.get()
    assert await far_reader.read() == upload
    far_writer.write(b"still here")
    far_writer.write_eof()
    assert await reader.read() == b"still here"
    await wait_until(lambda: balancer.connections == 0)


async def test_backends_take_turns(owned: AsyncExitStack) -> None:
    """In order, over and over."""
    peers = [await owned.enter_async_context(Peer()) for _ in range(3)]
    balancer = await owned.enter_async_context(Balancer([peer.backend for peer in peers]))
    for _ in range(2):
        for peer in peers:
            await dial(balancer, owned)
            await peer.accepted.get()
    assert balancer.connections == 6


@pytest.mark.parametrize("from_client", [True, False])
async def test_a_reset_is_passed_on_as_a_reset(from_client: bool, owned: AsyncExitStack) -> None:
    """A reset that arrived as a FIN would make a cut look like an end."""
    peer = await owned.enter_async_context(Peer())
    balancer = await owned.enter_async_context(Balancer([peer.backend]))
    near = await dial(balancer, owned)
    far = await peer.accepted.get()
    origin, target = (near, far) if from_client else (far, near)
    reset(origin[1])
    with pytest.raises(ConnectionResetError):
        await target[0].read()
    await wait_until(lambda: balancer.connections == 0)


async def test_a_cut_resets_both_sides(owned: AsyncExitStack) -> None:
    """What the demo does to its connections."""
    peer = await owned.enter_async_context(Peer())
    balancer = await owned.enter_async_context(Balancer([peer.backend]))
    near, _ = await dial(balancer, owned)
    far, _ = await peer.accepted.get()
    assert balancer.cut() == 1
    for side in (near, far):
        with pytest.raises(ConnectionResetError):
            await side.read()


async def test_a_backend_that_refuses_is_skipped(owned: AsyncExitStack) -> None:
    """A node that is being started again costs no client a connection."""
    peer = await owned.enter_async_context(Peer())
    dead = Backend(LOOPBACK, free_port())
    balancer = await owned.enter_async_context(Balancer([dead, peer.backend]))
    for _ in range(4):
        await dial(balancer, owned)
        await peer.accepted.get()
    assert peer.accepted.empty()


async def test_without_any_backend_the_client_is_reset(owned: AsyncExitStack) -> None:
    """At once, instead of a silent wait."""
    balancer = await owned.enter_async_context(Balancer([Backend(LOOPBACK, free_port())]))
    reader, _ = await dial(balancer, owned)
    with pytest.raises(ConnectionResetError):
        await reader.read()


async def test_a_client_that_does_not_read_slows_the_backend_down(owned: AsyncExitStack) -> None:
    """What is in flight stays bounded, and nothing of it is lost."""
    peer = await owned.enter_async_context(Peer())
    balancer = await owned.enter_async_context(Balancer([peer.backend]))
    reader, _ = await dial(balancer, owned)
    _, far_writer = await peer.accepted.get()
    sent = 0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            while sent < 200 * 2**20:
                far_writer.write(b"x" * 2**20)
                await far_writer.drain()
                sent += 2**20
    assert sent < 50 * 2**20
    assert len(await reader.readexactly(2**20)) == 2**20


async def test_a_taken_port_is_an_os_error(owned: AsyncExitStack) -> None:
    """The caller words it for people."""
    first = await owned.enter_async_context(Balancer())
    with pytest.raises(OSError, match="in use"):
        await owned.enter_async_context(Balancer(port=first.port))


async def test_leaving_ends_open_connections(owned: AsyncExitStack) -> None:
    """Nothing is left open, and nothing hangs."""
    peer = await owned.enter_async_context(Peer())
    async with Balancer([peer.backend]) as balancer:
        reader, _ = await dial(balancer, owned)
        await peer.accepted.get()
    with pytest.raises(ConnectionResetError):
        await reader.read()
    assert balancer.connections == 0
