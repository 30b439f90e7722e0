"""The events of an answer that a vendor's SDK has asked for, read past the SDK's own parsing of streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from broker.errors import ProviderError
from worker.providers.sse import EventReader

if TYPE_CHECKING:
    from httpx2 import Response

MAX_CALLS = 1000
"""Calls of one provider at once, where nothing else is said: what a worker runs by default."""
DRAIN_S = 0.1
"""How long an answer may still take to end after its end mark: only read to its end it gives its connection back."""


async def events_of(
    response: Response, *, end: bytes | None = None, ended: Callable[[], bool] | None = None
) -> AsyncGenerator[list[bytes], None]:
    """The data of events, as many at a time as came at once, up to the one that begins with ``end``.

    ``ended`` is asked after each of these lots: once it says so, only what comes within :data:`DRAIN_S` follows.

    Raises what the HTTP client raises until then, and :class:`broker.errors.ProviderError` for an event too large.
    """
    reader = EventReader()
    # Almost nobody compresses a stream; where nothing is to be unpacked, a generator for each piece is saved.
    packed = "content-encoding" in response.headers
    async with aclosing(response.aiter_bytes() if packed else response.aiter_raw()) as pieces:
        async for piece in pieces:
            events = reader.feed(piece)
            if end is not None and (at := _index(events, end)) is not None:
                yield events[:at]
                await _drain(pieces)
                return
            if events:
                yield events
                if ended is not None and ended():
                    if rest := await _drain(pieces, reader):
                        yield rest
                    return


def _index(events: list[bytes], end: bytes) -> int | None:
    for index, data in enumerate(events):
        if data.startswith(end):
            return index
    return None


async def _drain(pieces: AsyncGenerator[bytes, None], reader: EventReader | None = None) -> list[bytes]:
    """Read what is left. Nothing that happens now can make a whole answer a failure."""
    import httpx2  # noqa: PLC0415 - imported on first use

    rest: list[bytes] = []
    with suppress(TimeoutError, httpx2.HTTPError, ProviderError):
        async with asyncio.timeout(DRAIN_S):
            async for piece in pieces:
                rest += reader.feed(piece) if reader is not None else ()
    return rest
