"""The events of an answer that a vendor's SDK has asked for, read past the SDK's own parsing of streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from json import JSONDecodeError
from typing import TYPE_CHECKING

from broker.errors import ProviderError
from worker.providers.shapes import as_dict
from worker.providers.sse import EventReader, load

if TYPE_CHECKING:
    from httpx2 import Response

MAX_CALLS = 1000
"""Calls of one provider at once, where nothing else is said: what a worker runs by default."""
MAX_ERROR_BYTES = 65_536
"""As much is kept of an answer that is no stream: gateways send the JSON of an error with 200."""
DRAIN_S = 0.1
"""How long an answer may still take to end after its end mark: only read to its end it gives its connection back."""


async def events_of(
    response: Response, *, end: bytes | None = None, ended: Callable[[], bool] | None = None
) -> AsyncGenerator[list[bytes], None]:
    """The data of events, as many at a time as came at once, up to the one that begins with ``end``.

    ``ended`` is asked after each of these lots: once it says so, only what comes within :data:`DRAIN_S` follows.

    An answer that is no stream but the JSON of an error is given out as an event.

    Raises what the HTTP client raises until then, and :class:`broker.errors.ProviderError` for an event too large.
    """
    reader, plain = EventReader(), b""
    # Almost nobody compresses a stream; where nothing is to be unpacked, a generator for each piece is saved.
    packed = "content-encoding" in response.headers
    async with aclosing(response.aiter_bytes() if packed else response.aiter_raw()) as pieces:
        async for piece in pieces:
            events = reader.feed(piece)
            if plain is not None:
                plain = plain + piece if not events and _may_be_error(plain) else None
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
    if plain is not None and _is_error(plain):
        yield [plain]


def _may_be_error(plain: bytes) -> bool:
    return len(plain) <= MAX_ERROR_BYTES and plain.lstrip()[:1] in (b"", b"{")


def _is_error(plain: bytes) -> bool:
    try:
        return bool(as_dict(load(plain)).get("error"))
    except (JSONDecodeError, UnicodeDecodeError):
        return False


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
