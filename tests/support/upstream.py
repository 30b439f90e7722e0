"""A provider's server on a real socket: serves scripted SSE, keeps what it was asked, and sees sockets close."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from tests.support.waiting import wait_until

GOLDENS = Path(__file__).parent.parent / "goldens"


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: frames and how they end, or, with a status other than 200, a body.

    ``end``: the chunked body ends cleanly · ``cut``: the socket closes without the last chunk · ``stall``: nothing
    more, until the client goes · ``silence``: not even a status, until the client goes. ``bite`` > 0 sends the frames
    in pieces of so many bytes.
    """

    frames: tuple[str, ...] = ()
    then: Literal["end", "cut", "stall", "silence"] = "end"
    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    bite: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    method: str = "POST"


class Upstream:
    """Answers requests with its replies, in their order. An async context manager."""

    def __init__(self) -> None:
        self.replies: deque[Reply] = deque()
        self.asked: list[Asked] = []
        self.opened = 0
        self.closed = 0
        self.url = ""
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await wait_until(lambda: self.live == 0)

    @property
    def live(self) -> int:
        """Sockets open now."""
        return self.opened - self.closed

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        self._writers.add(writer)
        try:
            while (asked := await read_request(reader)) is not None:
                self.asked.append(asked)
                if not await _answer(self.replies.popleft(), reader, writer):
                    return
        except ConnectionError:
            pass
        finally:
            self.closed += 1
            self._writers.discard(writer)
            writer.close()


async def read_request(reader: asyncio.StreamReader) -> Asked | None:
    """The next request on a connection; None = there is none."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, path, _ = first.split(" ")
    return Asked(path, headers, json.loads(body or b"{}"), method)


async def _answer(reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Whether the connection may be used again."""
    if reply.then == "silence":
        await reader.read()
        return False
    extra = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
    if reply.status != 200:
        body = reply.body.encode()
        head = f"HTTP/1.1 {reply.status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        writer.write(f"{head}{extra}\r\n".encode() + body)
        await writer.drain()
        return True
    head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
    writer.write(f"{head}{extra}\r\n".encode())
    for piece in _pieces(reply):
        writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        await writer.drain()
    if reply.then == "cut":
        return False
    if reply.then == "stall":
        await reader.read()
        return False
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


def _pieces(reply: Reply) -> list[bytes]:
    if not reply.bite:
        return [frame.encode() for frame in reply.frames]
    data = "".join(reply.frames).encode()
    return [data[start : start + reply.bite] for start in range(0, len(data), reply.bite)]


def golden(name: str) -> list[str]:
    """The lines of ``tests/goldens/NAME.jsonl``."""
    return (GOLDENS / f"{name}.jsonl").read_text().splitlines()


def chat_frames(lines: Iterable[str]) -> tuple[str, ...]:
    """Lines of JSON (and ``[DONE]``) as OpenAI frames them."""
    return tuple(f"data: {line}\n\n" for line in lines)


def anthropic_frames(lines: Iterable[str]) -> tuple[str, ...]:
    """Lines of JSON as Anthropic frames them, each with its type as the event's name."""
    return tuple(f"event: {json.loads(line)['type']}\ndata: {line}\n\n" for line in lines)
