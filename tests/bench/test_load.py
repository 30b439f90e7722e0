"""The load generator against a server that does what it is told: what it must find, and what it must not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.load_generator import Unsound, hold, race
from bench.systems import Viewer

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def frame(*numbers: int, seq: int = 0, merged: int = 0) -> bytes:
    """One event with the marks of these tokens, stamped long ago."""
    head = f"id: 7-{seq}\n" if seq else ""
    more = f',"merged":{merged}' if merged else ""
    marks = "".join(f"#{number}@1@" for number in numbers)
    return f'{head}event: text.delta\ndata: {{"text":"# {marks}"{more}}}\n\n'.encode()


def chunk(body: bytes) -> bytes:
    """One chunk."""
    return b"%x;ext=1\r\n%b\r\n" % (len(body), body)


@asynccontextmanager
async def serving(*pieces: bytes) -> AsyncGenerator[int]:
    """A server that answers every request with these writes, then waits; the port."""
    writers: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        if pieces[-1].endswith(b"0\r\n\r\n"):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()


async def faults(*pieces: bytes, target: int, seq: int = 0) -> dict[str, Any]:
    """The message of the run that these answers make void, taken apart."""
    async with serving(*pieces) as port:
        with pytest.raises(Unsound) as caught:
            await race(port, [Viewer("/", next=1, seq=seq)], target=target, ids=bool(seq), burst=1)
    words = str(caught.value).removeprefix("void: ").split(", ")
    return {name: value for name, _, value in (word.partition(" ") for word in words)}


async def test_tokens_in_order_are_counted_and_timed() -> None:
    """Chunks, marks and lines may be torn anywhere; a joined event counts for each of its tokens."""
    body = b": hb\n" + frame(1, seq=3) + frame(2, 3, 4, seq=6, merged=3) + frame(5, seq=7)
    async with serving(CHUNKED + chunk(body[:30]), chunk(body[30:])) as port:
        viewers = [Viewer(f"/{number}", seq=2) for number in range(20)]
        report = await race(port, viewers, target=5, ids=True, burst=20)
    assert report["tokens"] == report["latency"]["count"] == 100
    assert report["frames"] == 60
    assert len(report["each_ns"]) == report["times"]["count"] == 20


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (frame(1) + frame(3), "gaps"),
        (frame(1) + frame(1) + frame(2) + frame(3), "doubled"),
        (frame(1) + frame(2) + frame(1) + frame(3), "reordered"),
    ],
)
async def test_a_lost_doubled_or_reordered_token_voids_the_run(body: bytes, fault: str) -> None:
    """Each is told by its own name, once."""
    found = await faults(PLAIN + body, target=3)
    assert found[fault] == "1"
    assert {"gaps", "doubled", "reordered"} & set(found) == {fault}


@pytest.mark.parametrize(
    "body",
    [
        frame(1, seq=3) + frame(2, seq=5),
        frame(1, seq=3) + frame(2, seq=3),
        frame(1, seq=4) + frame(2, seq=5),
        frame(1, 2, seq=4),
        frame(1, 2, seq=4, merged=3),
    ],
)
async def test_ids_must_be_dense_too(body: bytes) -> None:
    """Also against the position that the viewer resumed from, and by as much as an event says it has joined."""
    found = await faults(PLAIN + body, target=2, seq=2)
    assert found["id_errors"] == "1"


async def test_a_refusal_and_an_early_end_void_the_run() -> None:
    """A status that is not 200; a body that ends before its target."""
    refused = await faults(b"HTTP/1.1 503 No\r\n\r\n", target=1)
    assert refused["http_errors"] == "1"
    cut = await faults(CHUNKED + chunk(frame(1)) + b"0\r\n\r\n", target=2)
    assert cut["cut"] == "1"
    assert cut["why"] == "reached"


async def test_a_held_viewer_obeys_phase_after_phase() -> None:
    """What was seen before a phase is not counted in it; what does not come is said to be late, and nothing else."""
    gate = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(PLAIN)
        await gate.wait()
        writer.write(frame(1) + frame(2))
        await reader.read()
        writer.close()

    async with (
        await asyncio.start_server(answer, "127.0.0.1", 0) as server,
        hold(server.sockets[0].getsockname()[1], [Viewer("/")] * 3, ids=False) as load,
    ):
        await load.begin(2, 5, skip=1)
        gate.set()
        first = await load.result()
        later = await load.until(3, 0.05)
    assert (first["why"], first["tokens"], first["latency"]["count"], first["sound"]) == ("reached", 6, 3, True)
    assert (later["why"], later["tokens"], later["gaps"], later["sound"]) == ("late", 0, 0, False)


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(1, 60), min_size=1, max_size=12))
def test_where_the_bytes_are_torn_does_not_matter(cuts: list[int]) -> None:
    """Chunks of any size hold any part of the body."""
    rest = b"".join(frame(number, seq=2 + number) for number in range(1, 9))
    chunks: list[bytes] = []
    for size in [*cuts, len(rest)]:
        if rest:
            chunks.append(chunk(rest[:size]))
            rest = rest[size:]

    async def read() -> dict[str, Any]:
        async with serving(CHUNKED, *chunks) as port:
            return await race(port, [Viewer("/", seq=2)], target=8, ids=True, burst=1)

    assert asyncio.run(read())["tokens"] == 8
