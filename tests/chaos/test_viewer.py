"""The viewer is exact: cut at every byte, it loses nothing and doubles nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Self

import pytest

from tests.chaos.viewer import Plan, Result, watch
from tests.support.history import TERMINAL, Viewer, check

GENERATION = "gen_x"
EVENTS: list[tuple[str, dict[str, Any]]] = [
    ("1-1", {"type": "generation.created", "generation": {"id": GENERATION}}),
    ("2-2", {"type": "generation.started", "attempt": 1, "mode": "restart"}),
    ("2-3", {"type": "text.delta", "block": 0, "text": "Zoë 🙂"}),
    ("2-4", {"type": "text.delta", "block": 0, "text": "a\nb"}),
    ("2-5", {"type": "generation.completed", "finish_reason": "stop"}),
]


def sse(at: str, event: dict[str, Any]) -> bytes:
    """One frame."""
    return f"id: {at}\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def line(at: str, event: dict[str, Any]) -> bytes:
    """One line."""
    return json.dumps({"id": at, "event": event}).encode() + b"\n"


class Server:
    """Answers with the events after Last-Event-ID."""

    def __init__(self, *, chunked: bool = True, whole: bool = True) -> None:
        self.chunked = chunked
        self.whole = whole
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        last = next((row[15:] for row in head.split("\r\n") if row.startswith("Last-Event-ID: ")), None)
        encode = line if "ndjson" in head else sse
        start = [at for at, _ in EVENTS].index(last) + 1 if last else 0
        framing = "transfer-encoding: chunked\r\n" if self.chunked else ""
        writer.write(f"HTTP/1.1 200 OK\r\n{framing}\r\n".encode())
        for at, event in EVENTS[start:]:
            body = encode(at, event)
            writer.write(b"%x\r\n%s\r\n" % (len(body), body) if self.chunked else body)
        if self.chunked and self.whole:
            writer.write(b"0\r\n\r\n")
        writer.close()


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("ndjson", [True, False])
async def test_cut_at_every_byte(chunked: bool, ndjson: bool) -> None:
    """Every offset of the response, then a second connection: one whole history."""
    async with Server(chunked=chunked) as server:
        whole = await watch(server.port, Viewer("v", GENERATION), Plan(ndjson=ndjson))
        assert whole.clean_end
        for cut_at in range(1, whole.bytes):
            viewer = Viewer("v", GENERATION)
            first = await watch(server.port, viewer, Plan(cut_at=cut_at, reset=bool(cut_at % 2), ndjson=ndjson))
            assert (first.cut, first.clean_end, first.bytes) == (True, False, cut_at)
            # Who has the terminal event does not come back.
            if not (viewer.seen and viewer.seen[-1].kind in TERMINAL):
                assert (await watch(server.port, viewer, Plan(ndjson=ndjson))).clean_end
            assert check([viewer]) == []
            assert [seen.id for seen in viewer.seen] == [at for at, _ in EVENTS]


async def test_a_missing_last_chunk_is_no_clean_end() -> None:
    """However complete the events look."""
    async with Server(whole=False) as server:
        viewer = Viewer("v", GENERATION)
        result = await watch(server.port, viewer, Plan())
        assert (result.status, result.clean_end, viewer.clean_ends) == (200, False, 0)
        assert len(viewer.seen) == len(EVENTS)


async def test_a_pause_loses_nothing() -> None:
    """The viewer stops reading in the middle, and goes on."""
    async with Server() as server:
        viewer = Viewer("v", GENERATION)
        result = await watch(server.port, viewer, Plan(stall_at=60, stall_s=0.01))
        assert result.clean_end
        assert len(viewer.seen) == len(EVENTS)


async def test_nobody_there() -> None:
    """A refused connection is a result, not an error."""
    async with Server() as server:
        port = server.port
    assert await watch(port, Viewer("v", GENERATION), Plan()) == Result()
