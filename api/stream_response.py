"""One reader's stream as a bare ASGI response: write, heartbeat, notice the reader's going, break off.

Replay is pulled by the request's own task. At the tail, on our own server, live entries are written from where they
are heard (:meth:`EventStream.take`), and the task sleeps. No stream has a timer.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from api.drain import Drain
from api.formats.base import Format, VoidAttempt
from api.formats.folded import Folded
from api.pulse import Pulse
from api.wire import Headers, Stalled, Wire, joined
from broker.errors import RejoinderError
from broker.tail_items import Batch, TailItem, Viewer
from broker.telemetry import NodeMetrics

log = logging.getLogger(__name__)

_random = random.SystemRandom()

RETRY_MS = (750, 1250)
"""The reconnection time told to readers, jittered around one second."""

_GONE = "disconnect"

Source = Callable[[Viewer | None], AsyncGenerator[TailItem, None]]
"""Opens what a stream reads, for a viewer that takes live entries directly, or for none."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What all streams of a node share; seconds."""

    send_timeout_s: float
    drain: Drain
    metrics: NodeMetrics
    pulse: Pulse
    direct: bool
    """Write live entries past ASGI where the server lets us."""


class EventStream:
    """An ASGI app that answers one request with the items of ``source``, written in ``fmt``.

    ``held`` = the log could not be asked yet: say so with a heartbeat at once, and let ``source`` wait for it.
    ``delivered`` is called once the whole stream has reached the other side's machine; never where it has not.
    """

    __slots__ = (
        "_begun",
        "_delivered",
        "_ended",
        "_format",
        "_framed",
        "_headers",
        "_held",
        "_left",
        "_slow",
        "_source",
        "_task",
        "_terms",
        "_why",
        "_wire",
        "quiet_since",
        "touched",
    )

    def __init__(
        self,
        source: Source,
        fmt: Format,
        terms: Terms,
        *,
        headers: Headers,
        held: bool = False,
        delivered: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._source = source
        self._format = fmt
        self._terms = terms
        self._headers = [*stream_headers(fmt), *fmt.headers, *headers]
        self._held = held
        self._delivered = delivered
        self._left = False
        """The reader has gone."""
        self._task: asyncio.Task[object] | None = None
        self._why: str | None = None
        self._wire: Wire | None = None
        self._slow: asyncio.Task[None] | None = None
        """A heartbeat that has to wait for the reader."""
        self._framed = ""
        """Under which name readers like this one share the bytes of live entries; empty until the body has begun."""
        self._begun = False
        self._ended = True
        """The last entry written was the terminal one; nothing at all counts, too."""
        self.touched = False
        self.quiet_since = 0.0

    def add_headers(self, headers: Headers) -> None:
        """Send these too; before the stream is served."""
        self._headers += headers

    def stop(self, reason: str) -> None:
        """Break the stream off from outside; does nothing once it has ended by itself."""
        if self._task is not None and self._why is None:
            self._why = reason
            self._task.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the reader to the end, to its going, or until the stream has to be broken off."""
        terms = self._terms
        wire = self._wire = Wire(scope, send, terms.send_timeout_s)
        self._task = asyncio.current_task()
        terms.metrics.viewers += 1
        stop = self.stop
        terms.drain.hold(stop)
        terms.pulse.hold(self)
        try:
            reason = await self._serve(wire, receive)
        finally:
            terms.pulse.release(self)
            terms.drain.release(stop)
            terms.metrics.viewers -= 1
            self._task = None
            if self._slow is not None:
                self._slow.cancel()
        if reason is not None and reason != _GONE:
            terms.metrics.broken[reason] += 1
            wire.break_off(reason)

    async def _serve(self, wire: Wire, receive: Receive) -> str | None:
        """Returns why the body must be broken off, or None: it has been ended."""
        try:
            await wire.start(200, self._headers)
            self._headers = []
            self._framed = f"{self._format.name}, {wire.framing}"
            if wire.connection is not None:
                wire.connection.watch(self._gone)
                reason = await self._pump(wire)
                self._task = None
            else:
                reason = await self._watched(wire, receive)
            if reason is None:
                await self._conclude(wire)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._why is None or task is None or task.uncancel() > 0:
                raise
            return self._why
        except Stalled:
            return "stalled"
        return reason

    async def _conclude(self, wire: Wire) -> None:
        """End the body; before that, where somebody wants to know, see whether it has arrived."""
        if self._delivered is not None and await wire.taken() and not self._left:
            await self._delivered()
        await wire.end()

    async def _watched(self, wire: Wire, receive: Receive) -> str | None:
        """The same on a server that tells of the reader's going only to who waits for it."""
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch(receive))
            reason = await self._pump(wire)
            self._task = None
            watch.cancel()
        return reason

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._gone()

    def _gone(self) -> None:
        self._left = True
        self.stop(_GONE)

    async def _pump(self, wire: Wire) -> str | None:
        direct = self._terms.direct and wire.connection is not None and self._format.direct
        try:
            if self._held and self._format.heartbeat:
                await wire.write(self._format.heartbeat)
            source, self._source = self._source, _opened
            items = source(self if direct else None)
            del source
            async with aclosing(items):
                async for item in items:
                    await self._write(wire, item)
                    del item  # The next one may be hours away.
        except Stalled:
            return "stalled"
        except VoidAttempt as void:
            return await self._say_void(wire, void)
        except RejoinderError as error:
            return error.code
        except Exception:
            log.exception("a stream broke on an error nobody expected")
            return "internal"
        return None if self._ended else "log_lost"

    async def _write(self, wire: Wire, item: TailItem) -> None:
        pieces = self._pieces(item)
        if isinstance(item, Batch):
            self._count(item)
        await self._put(wire, pieces)

    async def _put(self, wire: Wire, pieces: list[bytes]) -> None:
        if pieces and not self._begun:
            self._begun = True
            preamble = self._format.preamble(_random.randint(*RETRY_MS))
            pieces = [preamble + pieces[0], *pieces[1:]] if preamble else pieces
        for piece in pieces:
            self.touched = True
            await wire.write(piece)

    async def _say_void(self, wire: Wire, void: VoidAttempt) -> str:
        try:
            await self._put(wire, joined(void.frames))
        except Stalled:
            return "stalled"
        return "void_attempt"

    def _pieces(self, item: TailItem) -> list[bytes]:
        """What to write, each piece of whole frames; made once for all readers that share it."""
        name = self._format.shared
        if name is None or not isinstance(item, Batch):
            return joined(self._format.frames(item))
        pieces = item.encoded.get(name)
        if pieces is None:
            pieces = item.encoded[name] = joined(self._format.frames(item))
        return pieces

    def _count(self, batch: Batch) -> None:
        if batch.entries:
            self._terms.metrics.events += len(batch.entries)
            self._ended = batch.ended

    def take(self, batch: Batch) -> bool:
        """Write live entries at once; False when this reader does not keep up, or is not there any more."""
        wire = self._wire
        if wire is None:
            return False
        fold = self._format if isinstance(self._format, Folded) else None
        framed = None
        if fold is not None:
            framed = fold.peek(batch)
            if framed is None or not self._begun:
                return False
        data = batch.encoded.get(self._framed)
        if data is None:
            body = b"".join(framed or self._format.frames(batch))
            data = batch.encoded[self._framed] = wire.frame(body) if body else b""
        if data and not wire.push(data):
            return False
        if fold is not None and framed is not None:
            fold.go_on(framed)
        self.touched = True
        self._ended = batch.ended
        self._terms.metrics.events += len(batch.entries)
        return True

    def beat(self) -> None:
        """Write a heartbeat after a silence."""
        wire, heartbeat = self._wire, self._format.heartbeat
        if wire is None or wire.busy or not self._framed or not heartbeat or self._slow is not None:
            return
        if not (self._terms.direct and wire.push(wire.frame(heartbeat))):
            self._slow = asyncio.get_running_loop().create_task(self._beat_slowly(wire, heartbeat))

    async def _beat_slowly(self, wire: Wire, heartbeat: bytes) -> None:
        try:
            await wire.write(heartbeat)
        except Stalled:
            self.stop("stalled")
        finally:
            self._slow = None


def _opened(_viewer: Viewer | None) -> AsyncGenerator[TailItem, None]:
    raise RuntimeError("a stream is served once")


def stream_headers(fmt: Format) -> Headers:
    """The headers of every stream: nothing in between may keep, change or hold back what we write."""
    return [
        (b"content-type", fmt.media_type.encode()),
        (b"cache-control", b"no-cache, no-transform"),
        (b"x-accel-buffering", b"no"),
        (b"x-content-type-options", b"nosniff"),
    ]
