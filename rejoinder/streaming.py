"""One generation read to its end over as many connections as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeAlias

from broker.position import parse_position
from rejoinder.backoff import Backoff
from rejoinder.failures import ClientError, GaveUp, Refused, StreamBroken, Unreachable
from rejoinder.http import NODE_HEADER, Http, is_passing
from rejoinder.sse import SSEOverflow, SSEParser
from rejoinder.stream_event import Cursor, StreamEvent, decode_event

if TYPE_CHECKING:
    import httpx2

_MAX_VIOLATIONS = 3
"""A stream that breaks the arithmetic so often at one position is not going to heal by asking again."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection answered."""

    node: str
    after: str | None
    """The position it goes on from; ``None`` = from the start."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A connection was cut, or could not be made; the next try comes in ``delay_s`` seconds."""

    node: str | None
    reason: str
    delay_s: float


Note: TypeAlias = Opened | Lost


class EventStream:
    """An async iterator over the events of one generation; it resumes by itself and stops behind the terminal event.

    Iterating raises:
        Refused: the server's lasting refusal (unknown id, no right, expired log …).
        Unreachable: no server answered for ``Patience.give_up_after_s``.
        GaveUp: a server answered, but nothing moved for that long.
        StreamBroken: the events can't be put in one dense order, also not by asking again.
    """

    def __init__(
        self, http: Http, path: str, after: str | None = None, on_note: Callable[[Note], None] | None = None
    ) -> None:
        self._http = http
        self._path = path
        self._cursor = Cursor(parse_position(after))
        self._on_note = on_note
        self._backoff = Backoff(http.patience)
        self._events = self._run()
        self._violations = 0
        self._progress_at = 0.0
        self._live = False
        self._finished = False
        self.node: str | None = None
        """The node of the newest connection."""
        self.nodes: list[str] = []
        """The nodes of all connections that answered, in order."""

    @property
    def last_event_id(self) -> str | None:
        """Where the reader stands: ``after`` of a later stream that goes on from here."""
        return self._cursor.last_event_id

    @property
    def reconnects(self) -> int:
        """How many connections answered after the first."""
        return max(0, len(self.nodes) - 1)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamEvent:
        return await anext(self._events)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection; the generation goes on."""
        await self._events.aclose()

    async def _run(self) -> AsyncGenerator[StreamEvent]:
        self._touch()
        while True:
            try:
                async with aclosing(self._connection()) as events:
                    async for event in events:
                        yield event
                        if event.terminal:
                            return
                if self._finished:
                    return
                cause: ClientError = Unreachable("the stream ended before the generation did")
            except (Refused, Unreachable, StreamBroken) as error:
                cause = error
            if self._live:
                self._touch()
            await self._pause(cause)

    async def _connection(self) -> AsyncGenerator[StreamEvent]:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        after = self._cursor.last_event_id
        if after is not None:
            headers["Last-Event-ID"] = after
        self._live = False
        async with self._http.open(self._path, headers) as response:
            self.node = response.headers.get(NODE_HEADER, "")
            self.nodes.append(self.node)
            self._tell(Opened(self.node, after))
            if response.status_code == 204:
                self._finished = True
                return
            async with aclosing(self._parsed(response)) as events:
                async for event in events:
                    self._cursor.take(event)
                    self._moved(event)
                    yield event

    async def _parsed(self, response: httpx2.Response) -> AsyncGenerator[StreamEvent]:
        content_type = response.headers.get("content-type", "")
        if not content_type.startswith("text/event-stream"):
            raise StreamBroken(f"expected text/event-stream, got {content_type[:80]!r}: is this a Rejoinder server?")
        parser = SSEParser()
        async for chunk in response.aiter_bytes():
            try:
                frames = parser.feed(chunk)
            except SSEOverflow as error:
                raise StreamBroken(str(error)) from error
            if parser.retry_s is not None:
                self._backoff.retry_s = parser.retry_s
            for frame in frames:
                yield decode_event(frame.id, frame.data, self.node or "")

    def _moved(self, event: StreamEvent) -> None:
        if event.type == "stream.live":
            self._live = True
        self._violations = 0
        self._backoff.success()
        self._touch()

    def _touch(self) -> None:
        self._progress_at = asyncio.get_running_loop().time()

    async def _pause(self, cause: ClientError) -> None:
        if isinstance(cause, StreamBroken):
            self._violations += 1
            if self._violations >= _MAX_VIOLATIONS:
                raise cause
        elif not is_passing(cause):
            raise cause
        delay = self._backoff.next_delay(cause.retry_after_s)
        idle = asyncio.get_running_loop().time() - self._progress_at
        if idle + delay > self._http.patience.give_up_after_s:
            raise self._surrender(cause, idle) from cause
        self._tell(Lost(self.node, str(cause), delay))
        await asyncio.sleep(delay)

    def _surrender(self, cause: ClientError, idle: float) -> ClientError:
        if not self.nodes and isinstance(cause, Unreachable):
            return cause
        return GaveUp(f"no progress for {idle:.0f} s; the last word was: {cause}")

    def _tell(self, note: Note) -> None:
        if self._on_note is not None:
            self._on_note(note)
