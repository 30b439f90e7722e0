"""Waiting for a server of somebody else's until its status page says that it is ready."""

from __future__ import annotations

import asyncio

from bench.child import ChildFailed


async def until_says(port: int, path: str, text: bytes, limit_s: float) -> None:
    """Return once a page says so. Raises :class:`~bench.child.ChildFailed`: not in time."""
    try:
        async with asyncio.timeout(limit_s):
            while text not in await _page(port, path):  # noqa: ASYNC110 - another process has no event to wait for
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise ChildFailed(f"{path} did not say {text.decode()!r} within {limit_s:.0f} s") from None


async def _page(port: int, path: str) -> bytes:
    """The whole answer; empty when nothing listens."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return b""
    writer.write(b"GET %b HTTP/1.0\r\n\r\n" % path.encode())
    answer = await reader.read()
    writer.close()
    return answer
