"""The Python client: plain calls, and streams that survive what happens to their connections.

::

    async with Client("http://127.0.0.1:8000") as client:
        record = await client.submit("demo/demo-1", "Tell me about durable logs")
        async for event in client.stream(record.id):
            print(event.text, end="")
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote

import msgspec

from broker.record import Record
from rejoinder.backoff import Patience
from rejoinder.failures import StreamBroken
from rejoinder.http import Http
from rejoinder.streaming import EventStream, Note

if TYPE_CHECKING:
    import httpx2

_WAIT_S = 30
"""Length of one long poll of :meth:`Client.wait`, seconds."""
_WAIT_SLACK_S = 15
"""What the answer to a long poll may take on top, seconds."""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the list of generations, newest first."""

    records: Sequence[Record]
    next_cursor: str | None
    """What :meth:`Client.list` takes as ``cursor`` to go on; ``None`` = this was the last page."""


class Client:
    """A client of one Rejoinder service; an async context manager.

    Args:
        base_url: ``http://host:port``, or several that lead to the same service: every new connection takes the next.
        api_key: sent as bearer; a tenant's key or an access token.
        patience: how long to bear with a server that is away.

    Every method raises :class:`~rejoinder.failures.Refused` for an error answer and
    :class:`~rejoinder.failures.Unreachable` when there is none.
    """

    def __init__(
        self, base_url: str | Sequence[str], api_key: str | None = None, *, patience: Patience | None = None
    ) -> None:
        urls = [base_url] if isinstance(base_url, str) else list(base_url)
        self._http = Http(urls, api_key, patience or Patience())

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._http.__aexit__(*exc)

    async def submit(
        self, model: str, prompt: str | None = None, *, idempotency_key: str | None = None, **fields: Any
    ) -> Record:
        """Start a generation; returns as soon as it is committed.

        Args:
            model: ``provider/name``, or a bare name that the server routes.
            prompt: short for one user message; else give ``messages``.
            idempotency_key: the same key and request give the same generation. Without one, a key is made up, so
                that a retry after a lost answer never starts a second generation.
            **fields: any further field of the request, as the contract names it; ``None`` = not sent.
        """
        body = {"model": model, "input": prompt, **fields}
        response = await self._http.call(
            "POST",
            "/v1/generations",
            body={name: value for name, value in body.items() if value is not None},
            headers={"Idempotency-Key": idempotency_key or uuid.uuid4().hex},
        )
        return _record(response)

    async def get(self, generation: str) -> Record:
        """The record as it stands."""
        return _record(await self._http.call("GET", _path(generation)))

    async def wait(self, generation: str, *, timeout_s: float | None = None) -> Record:
        """The record once the generation has ended.

        Raises:
            TimeoutError: it has not ended after ``timeout_s`` seconds; it goes on.
        """
        async with asyncio.timeout(timeout_s):
            while True:
                response = await self._http.call(
                    "GET", _path(generation), params={"wait": _WAIT_S}, read_s=_WAIT_S + _WAIT_SLACK_S
                )
                record = _record(response)
                if record.ended:
                    return record

    async def list(self, *, status: str | None = None, limit: int | None = None, cursor: str | None = None) -> Page:
        """Generations, newest first, without their output."""
        wanted: dict[str, str | int | None] = {"status": status, "limit": limit, "cursor": cursor}
        params = {name: value for name, value in wanted.items() if value is not None}
        response = await self._http.call("GET", "/v1/generations", params=params)
        page = _decode(response, _PageBody)
        return Page(page.data, page.next_cursor)

    async def cancel(self, generation: str) -> Record:
        """Stop a generation, and paying for it; harmless when it has ended. The record may still say ``running``."""
        return _record(await self._http.call("POST", f"{_path(generation)}/cancel"))

    async def delete(self, generation: str) -> None:
        """Stop it if need be and erase it."""
        await self._http.call("DELETE", _path(generation))

    def stream(
        self, generation: str, after: str | None = None, *, on_note: Callable[[Note], None] | None = None
    ) -> EventStream:
        """The events of a generation from the start, or behind ``after``, until its end.

        Args:
            generation: the id.
            after: the ``id`` of the last event one has.
            on_note: told of every connection opened and lost.

        Raises:
            InvalidPosition: ``after`` is not an event id.
        """
        return EventStream(self._http, f"{_path(generation)}/events", after, on_note)


T = TypeVar("T")


class _PageBody(msgspec.Struct):
    data: list[Record]
    next_cursor: str | None = None


def _path(generation: str) -> str:
    return f"/v1/generations/{quote(generation, safe='')}"


def _record(response: httpx2.Response) -> Record:
    return _decode(response, Record)


def _decode(response: httpx2.Response, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(response.content, type=kind)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise StreamBroken(
            f"{response.request.url} answered with something else: is this a Rejoinder server?"
        ) from error
