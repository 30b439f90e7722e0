"""Small questions to servers, asked without an HTTP or Redis library."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

_ANSWER_S = 2.0
_REDIS_PORT = 6379


async def is_ready(url: str) -> bool:
    """Whether ``GET /readyz`` at this base URL is answered with 200 within 2 s."""
    parts = urlsplit(url)
    request = f"GET /readyz HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(_ANSWER_S):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                writer.write(request.encode())
                await writer.drain()
                status_line = await reader.readline()
            finally:
                writer.close()
    except OSError:
        return False
    return status_line.split(b" ")[1:2] == [b"200"]


async def can_connect(redis_url: str) -> bool:
    """Whether something listens where this ``redis://``, ``rediss://`` or ``unix://`` URL points."""
    parts = urlsplit(redis_url)
    try:
        async with asyncio.timeout(_ANSWER_S):
            if parts.scheme == "unix":
                _, writer = await asyncio.open_unix_connection(parts.path)
            else:
                _, writer = await asyncio.open_connection(parts.hostname or "localhost", parts.port or _REDIS_PORT)
    except OSError:
        return False
    writer.close()
    return True
