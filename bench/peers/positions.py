"""Where a reader stands that has seen so many tokens: found by reading, because only a reader can know it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

READ_S = 20.0


class NoPosition(Exception):
    """The stream did not show that token in time."""


async def read_until(port: int, path: str, token: int) -> bytes:
    """The body of an event stream up to token ``#<token>@``, chunk sizes taken out. Raises :class:`NoPosition`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
    mark = b"#%d@" % token
    try:
        async with asyncio.timeout(READ_S):
            writer.write(b"GET %s HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n" % path.encode())
            head = await reader.readuntil(b"\r\n\r\n")
            chunked = b"chunked" in head.lower()
            body = bytearray()
            while (at := body.find(mark)) < 0 or body.find(b"\n\n", at) < 0:
                body += await (_chunk(reader) if chunked else _some(reader))
            return bytes(body[: body.find(b"\n\n", at) + 2])
    except (TimeoutError, asyncio.IncompleteReadError) as error:
        raise NoPosition(f"{path}: token {token} did not come") from error
    finally:
        writer.close()


async def _chunk(reader: asyncio.StreamReader) -> bytes:
    size = int((await reader.readline()).split(b";")[0], 16)
    data = await reader.readexactly(size)
    await reader.readexactly(2)
    return data


async def _some(reader: asyncio.StreamReader) -> bytes:
    data = await reader.read(1 << 16)
    if not data:
        raise asyncio.IncompleteReadError(b"", None)
    return data


def last_id(body: bytes) -> str:
    """What EventSource would send as ``Last-Event-ID`` after this body."""
    return body.rpartition(b"\nid: ")[2].partition(b"\n")[0].decode()


def characters(body: bytes) -> str:
    """How many characters of the stream the body holds: what resumable-stream's ``skipCharacters`` wants."""
    return str(len(body.decode()))


async def positions(
    port: int, wanted: list[tuple[str, int]], position: Callable[[bytes], str], at_once: int = 32
) -> dict[tuple[str, int], str]:
    """For each (path, token) the position behind that token; each is read once. Raises :class:`NoPosition`."""
    gate = asyncio.Semaphore(at_once)

    async def one(path: str, token: int) -> str:
        async with gate:
            return position(await read_until(port, path, token))

    different = list(dict.fromkeys(wanted))
    found = await asyncio.gather(*(one(path, token) for path, token in different))
    return dict(zip(different, found, strict=True))
