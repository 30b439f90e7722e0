"""A viewer on a raw socket: cut at any byte, stalled anywhere, and exact about how a body ended."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.support.history import Seen, Viewer
from tests.support.whatwg import EventSourceParser

_RESET = struct.pack("ii", 1, 0)
_READ = 16 * 1024


@dataclass(frozen=True)
class Plan:
    """What this connection does: hang up at a byte (of the whole response), with a reset or not; pause at a byte."""

    cut_at: int | None = None
    reset: bool = False
    stall_at: int | None = None
    stall_s: float = 0.0
    ndjson: bool = False
    exact: bool = False


@dataclass
class Result:
    """How the connection went; ``status`` None = the head never came whole."""

    status: int | None = None
    clean_end: bool = False
    cut: bool = False
    """The viewer hung up itself."""
    bytes: int = 0


class _Broken(Exception):
    """The body ended before its end."""


class _Connection:
    """Reads a response within its plan."""

    def __init__(self, reader: asyncio.StreamReader, plan: Plan, result: Result) -> None:
        self._reader = reader
        self._plan = plan
        self._result = result
        self._buffer = b""
        self._stalled = False

    async def more(self) -> bytes:
        """The next bytes; empty at the end. Raises :class:`EOFError` where the viewer hangs up."""
        limit = _READ
        for mark in (self._plan.cut_at, None if self._stalled else self._plan.stall_at):
            if mark is not None:
                limit = min(limit, mark - self._result.bytes) if mark > self._result.bytes else limit
        data = await self._reader.read(limit)
        self._result.bytes += len(data)
        if self._plan.stall_at is not None and not self._stalled and self._result.bytes >= self._plan.stall_at:
            self._stalled = True
            await asyncio.sleep(self._plan.stall_s)
        return data

    @property
    def over(self) -> bool:
        """Whether the plan says to hang up now."""
        return self._plan.cut_at is not None and self._result.bytes >= self._plan.cut_at

    async def until(self, mark: bytes) -> bytes:
        """Everything up to a mark, without it."""
        while mark not in self._buffer:
            await self._fill()
        found, _, self._buffer = self._buffer.partition(mark)
        return found

    async def exactly(self, size: int) -> bytes:
        """So many bytes."""
        while len(self._buffer) < size:
            await self._fill()
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found

    def rest(self) -> bytes:
        """What was read and not used."""
        found, self._buffer = self._buffer, b""
        return found

    async def _fill(self) -> None:
        if self.over:
            raise EOFError
        data = await self.more()
        if not data:
            raise _Broken
        self._buffer += data


async def watch(
    port: int, viewer: Viewer, plan: Plan, *, key: str = "", path: str = "", silence_s: float = 20.0
) -> Result:
    """One connection, resumed by ``Last-Event-ID``; what it brings goes to ``viewer``."""
    result = Result()
    try:
        reader, writer = await _connect(port, narrow=plan.stall_at is not None)
    except OSError:
        return result
    try:
        writer.write(_request(viewer, plan, key, path or f"/v1/generations/{viewer.generation}/events"))
        async with asyncio.timeout(silence_s):
            await _read(_Connection(reader, plan, result), viewer, plan, result)
    except EOFError:
        result.cut = True
    except (OSError, _Broken, TimeoutError):
        pass
    finally:
        if plan.reset and result.cut:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort() if plan.reset else writer.close()
    viewer.clean_ends += result.clean_end and result.status == 200
    return result


async def _connect(port: int, *, narrow: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """``narrow``: with next to no buffers, so that a viewer who stops reading is felt at the other side."""
    if not narrow:
        return await asyncio.open_connection("127.0.0.1", port)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return await asyncio.open_connection(sock=sock, limit=1024)


def _request(viewer: Viewer, plan: Plan, key: str, path: str) -> bytes:
    last = next((seen.id for seen in reversed(viewer.seen) if seen.id), None)
    if viewer.seen and viewer.seen[-1].kind == "stream.reset":
        last = None
    lines = [
        f"GET {path}?replay={'exact' if plan.exact else 'merged'} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Accept: {'application/x-ndjson' if plan.ndjson else 'text/event-stream'}",
    ]
    lines += [f"Authorization: Bearer {key}"] if key else []
    lines += [f"Last-Event-ID: {last}"] if last else []
    return "\r\n".join([*lines, "", ""]).encode()


async def _read(connection: _Connection, viewer: Viewer, plan: Plan, result: Result) -> None:
    head = (await connection.until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    result.status = int(head[0].split(" ")[1])
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
    take = _taker(viewer, ndjson=plan.ndjson) if result.status == 200 else _ignore
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await connection.until(b"\r\n"), 16):
            take(await connection.exactly(size))
            await connection.exactly(2)
        await connection.until(b"\r\n")
    elif "content-length" in headers or result.status == 204:
        take(await connection.exactly(int(headers.get("content-length", "0"))))
    else:
        take(connection.rest())
        while not connection.over:
            data = await connection.more()
            if not data:
                break
            take(data)
        else:
            raise EOFError
    result.clean_end = True


def _taker(viewer: Viewer, *, ndjson: bool) -> Callable[[bytes], None]:
    parser = EventSourceParser()
    rest = b""

    def take(data: bytes) -> None:
        nonlocal rest
        if ndjson:
            *lines, rest = (rest + data).split(b"\n")
            viewer.seen.extend(_from_lines(lines))
        else:
            for event in parser.feed(data):
                wire_only = event.type.startswith("stream.")
                viewer.seen.append(Seen(None if wire_only else event.last_event_id, json.loads(event.data)))

    return take


def _from_lines(lines: list[bytes]) -> Iterator[Seen]:
    for line in lines:
        record = json.loads(line)
        if record["event"]["type"] != "stream.heartbeat":
            yield Seen(record["id"], record["event"])


def _ignore(_data: bytes) -> None:
    pass
