"""One reader's stream as a bare ASGI response: write, heartbeat, notice the reader's going, break off.

Two tasks per reader: the request's own pulls items and writes them; a second one watches for the disconnect and writes
heartbeats. The hot path sets no timer.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from api.drain import Drain
from api.formats.base import Format, VoidAttempt
from api.wire import Headers, Stalled, Wire
from broker.errors import RejoinderError
from broker.events import TERMINAL_TYPES
from broker.tail_items import Batch, TailItem
from broker.telemetry import NodeMetrics

log = logging.getLogger(__name__)

_random = random.SystemRandom()

RETRY_MS = (750, 1250)
"""The reconnection time told to readers, jittered around one second."""

_GONE = "disconnect"


@dataclass(frozen=True, slots=True)
class Terms:
    """What all streams of a node share; seconds."""

    heartbeat_s: float
    send_timeout_s: float
    drain: Drain
    metrics: NodeMetrics


class EventStream:
    """An ASGI app that answers one request with the items of ``source``, written in ``fmt``.

    ``held`` = the log could not be asked yet: say so with a heartbeat at once, and let ``source`` wait for it.
    """

    def __init__(
        self,
        source: Callable[[], AsyncGenerator[TailItem, None]],
        fmt: Format,
        terms: Terms,
        *,
        headers: Headers,
        held: bool = False,
    ) -> None:
        self._source = source
        self._format = fmt
        self._terms = terms
        self._headers = [*stream_headers(fmt), *headers]
        self._held = held
        self._task: asyncio.Task[object] | None = None
        self._why: str | None = None
        self._begun = False
        self._written_at = 0.0

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
        metrics = self._terms.metrics
        wire = Wire(scope, send, self._terms.send_timeout_s)
        self._task = asyncio.current_task()
        metrics.viewers += 1
        try:
            with self._terms.drain.holds(self.stop):
                reason = await self._serve(wire, receive)
        finally:
            metrics.viewers -= 1
            self._task = None
        if reason is not None and reason != _GONE:
            metrics.broken[reason] += 1
            wire.break_off(reason)

    async def _serve(self, wire: Wire, receive: Receive) -> str | None:
        """Returns why the body must be broken off, or None: it has been ended."""
        try:
            await wire.start(200, self._headers)
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch(wire, receive))
                reason = await self._pump(wire)
                self._task = None
                watch.cancel()
            if reason is None:
                await wire.end()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._why is None or task is None or task.uncancel() > 0:
                raise
            return self._why
        except Stalled:
            return "stalled"
        return reason

    async def _pump(self, wire: Wire) -> str | None:
        ended = True
        try:
            if self._held and self._format.heartbeat:
                await wire.write(self._format.heartbeat)
            async with aclosing(self._source()) as items:
                async for item in items:
                    await self._take(wire, item)
                    if isinstance(item, Batch) and item.entries:
                        ended = isinstance(item.entries[-1].event, TERMINAL_TYPES)
        except Stalled:
            return "stalled"
        except VoidAttempt:
            return "void_attempt"
        except RejoinderError as error:
            return error.code
        except Exception:
            log.exception("a stream broke on an error nobody expected")
            return "internal"
        return None if ended else "log_lost"

    async def _take(self, wire: Wire, item: TailItem) -> None:
        frames = self._format.frames(item)
        if isinstance(item, Batch):
            self._terms.metrics.events += len(item.entries)
        if not frames:
            return
        if not self._begun:
            self._begun = True
            frames = [self._format.preamble(_random.randint(*RETRY_MS)) + frames[0], *frames[1:]]
        self._written_at = asyncio.get_running_loop().time()
        await wire.write_all(frames)

    async def _watch(self, wire: Wire, receive: Receive) -> None:
        loop = asyncio.get_running_loop()
        self._written_at = max(self._written_at, loop.time())
        while True:
            try:
                async with asyncio.timeout_at(self._written_at + self._terms.heartbeat_s):
                    message = await receive()
            except TimeoutError:
                await self._beat(wire, loop.time())
            else:
                if message["type"] == "http.disconnect":
                    self.stop(_GONE)
                    return

    async def _beat(self, wire: Wire, now: float) -> None:
        if now - self._written_at < self._terms.heartbeat_s:
            return
        self._written_at = now
        if wire.busy or not self._format.heartbeat:
            return
        try:
            await wire.write(self._format.heartbeat)
        except Stalled:
            self.stop("stalled")


def stream_headers(fmt: Format) -> Headers:
    """The headers of every stream: nothing in between may keep, change or hold back what we write."""
    return [
        (b"content-type", fmt.media_type.encode()),
        (b"cache-control", b"no-cache, no-transform"),
        (b"x-accel-buffering", b"no"),
        (b"x-content-type-options", b"nosniff"),
    ]
