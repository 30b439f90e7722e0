"""The peers' set-up: what would make a comparison unfair or a run wrong, without starting any of them."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.peers.install import SERVER
from bench.peers.nchan_config import config
from bench.peers.positions import NoPosition, characters, last_id, positions
from bench.peers.publishing import Pipe, PublishFailed

_NCHAN = b": hi\n\nid: 17:0\ndata: #1@5@ a\n\nid: 17:1\ndata: #2@6@ b\n\nid: 17:2\ndata: #3@7@ c\n\n"


def test_nchan_differs_from_its_defaults_only_where_the_documents_say() -> None:
    """No access log, one worker, enough room for every run; with Redis two lines more and nothing else."""
    alone = config(8080, Path("/tmp/nchan"))
    shared = config(8080, Path("/tmp/nchan"), redis_url="redis://127.0.0.1:1/0")
    extra = [line.strip() for line in shared.splitlines() if line not in alone.splitlines()]
    assert extra == ["nchan_use_redis on;", "nchan_redis_url redis://127.0.0.1:1/0;"]
    assert "access_log off;" in alone
    assert "worker_processes 1;" in alone
    assert alone.count("{") == alone.count("}")


def test_the_lock_of_the_package_names_no_host() -> None:
    """Exact versions with hashes, from whatever registry the machine has."""
    manifest = json.loads((SERVER / "package.json").read_text())
    lock = (SERVER / "package-lock.json").read_text()
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in manifest["dependencies"].values())
    assert "://" not in lock
    assert "resolved" not in lock
    packages = {name: entry for name, entry in json.loads(lock)["packages"].items() if name}
    assert all("integrity" in entry for entry in packages.values())
    assert {f"node_modules/{name}" for name in manifest["dependencies"]} <= set(packages)


def test_the_server_round_the_package_can_be_parsed() -> None:
    """By Node itself; whether it serves is seen by every run of the bench that has it."""
    node = shutil.which("node")
    assert node is not None, "node is needed, as it is for the examples of the documents"
    subprocess.run([node, "--check", str(SERVER / "server.mjs")], check=True, timeout=20)


@given(st.integers(0, 20), st.lists(st.integers(0, 400), max_size=8))
def test_acknowledgements_are_counted_wherever_reads_are_split(count: int, cuts: list[int]) -> None:
    """A status line that arrives in two reads counts once."""
    answers = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok" * count
    edges = sorted({0, len(answers), *(cut for cut in cuts if cut < len(answers))})
    pipe = Pipe(b"HTTP/1.1 20")
    for start, end in pairwise(edges):
        pipe.data_received(answers[start:end])
    assert pipe.taken == count


async def test_a_refused_token_is_not_taken_for_an_accepted_one() -> None:
    """A connection that ends with answers missing fails the run."""
    pipe = Pipe(b"HTTP/1.1 20")
    pipe.sent = 2
    pipe.data_received(b"HTTP/1.1 201 Created\r\n\r\nHTTP/1.1 413 Too Large\r\n\r\n")
    pipe.connection_lost(None)
    with pytest.raises(PublishFailed, match="1 of 2"):
        await pipe.settle()


@asynccontextmanager
async def _answering(body: bytes, *, chunked: bool) -> AsyncGenerator[int]:
    """A server with one answer for every request."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\n" + (b"Transfer-Encoding: chunked\r\n" if chunked else b"") + b"\r\n"
        middle = len(body) // 2
        parts = [body[:middle], body[middle:]]
        writer.write(head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) if chunked else part for part in parts))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_position_is_what_a_reader_of_so_many_tokens_has(chunked: bool) -> None:
    """Behind token 2: nchan's message id, and the characters up to the end of its frame."""
    async with _answering(_NCHAN, chunked=chunked) as port:
        assert await positions(port, [("/s", 2), ("/s", 2)], last_id) == {("/s", 2): "17:1"}
        assert await positions(port, [("/s", 1)], characters) == {("/s", 1): str(_NCHAN.index(b"id: 17:1"))}


async def test_a_stream_that_ends_too_early_has_no_position() -> None:
    """Rather than some other one."""
    async with _answering(_NCHAN, chunked=False) as port:
        with pytest.raises(NoPosition, match="token 4"):
            await positions(port, [("/s", 4)], last_id)
