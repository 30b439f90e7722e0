"""A server that says exactly what a test tells it to, cut where the test wants it cut."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

RESET = b"\0reset"
"""Instead of a piece of body: a TCP reset."""
EOF = b"\0eof"
"""Instead of a piece of body: a FIN without the last chunk."""
HANG = b"\0hang"
"""Instead of a piece of body: silence until the client goes."""


@dataclass
class Answer:
    """One scripted answer; a stream is chunked and ends cleanly unless a mark says otherwise."""

    pieces: Sequence[bytes] = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])


@dataclass
class Asked:
    """One request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes


class Stub:
    """Answers its requests in order; the last answer is repeated."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[Asked] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """What clients connect to."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._answer(reader, writer)
        except OSError:
            pass
        finally:
            writer.close()
            self._writers.discard(writer)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await _request(reader)
        if asked is None:
            return
        answer = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append(asked)
        headers = {"transfer-encoding": "chunked", "connection": "close", **answer.headers}
        if answer.status == 204:
            del headers["transfer-encoding"]
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {answer.status} X\r\n{head}\r\n".encode())
        for piece in answer.pieces:
            if piece == RESET:
                await writer.drain()
                connection = writer.get_extra_info("socket")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                return
            if piece == EOF:
                return
            if piece == HANG:
                await reader.read()
                return
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await writer.drain()
        if answer.status != 204:
            writer.write(b"0\r\n\r\n")
        await writer.drain()


async def _request(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return None
    line, *rest = head.strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in rest)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(line, headers, body)


def stream(*pieces: bytes, node: str = "node-a", **headers: str) -> Answer:
    """An event stream."""
    return Answer(
        pieces, 200, {"content-type": "text/event-stream; charset=utf-8", "x-rejoinder-node": node, **headers}
    )


def frame(event_id: str | None, event: dict[str, Any], extra: str = "") -> bytes:
    """One SSE frame."""
    own_id = f"id: {event_id}\n" if event_id else ""
    return f"{extra}{own_id}event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def text(seq: int, words: str, merged: int = 1, epoch: int = 7) -> bytes:
    """A text delta whose last entry is ``seq``."""
    more = {"merged": merged} if merged > 1 else {}
    return frame(f"{epoch}-{seq}", {"type": "text.delta", "block": 0, "text": words, **more})


def started(seq: int, attempt: int = 1, mode: str = "restart", epoch: int = 7) -> bytes:
    """A worker takes over."""
    event = {"type": "generation.started", "attempt": attempt, "mode": mode, "provider": "demo", "model": "demo-1"}
    return frame(f"{epoch}-{seq}", event)


def completed(seq: int, epoch: int = 7) -> bytes:
    """The good end."""
    usage = {"input_tokens": 1, "output_tokens": 2}
    timing = {"ttft_ms": 12, "tokens_per_second": 40.0}
    event = {"type": "generation.completed", "finish_reason": "stop", "usage": usage, "timing": timing}
    return frame(f"{epoch}-{seq}", event)


def problem(status: int, code: str, **headers: str) -> Answer:
    """An error answer."""
    body = json.dumps({"title": "Oops", "detail": f"it is {code}", "code": code}).encode()
    return Answer((body,), status, {"content-type": "application/problem+json", **headers})


def record(status: str = "completed", **fields: Any) -> bytes:
    """A record's JSON."""
    base = "/v1/generations/gen_1"
    links = {"self": base, "events": f"{base}/events", "cancel": f"{base}/cancel"}
    whole = {"id": "gen_1", "object": "generation", "status": status, "model": "demo/demo-1", "created_at": 1000.0}
    return json.dumps({**whole, "links": links, **fields}).encode()


def as_json(body: bytes) -> Answer:
    """A JSON answer."""
    return Answer((body,), 200, {"content-type": "application/json"})
