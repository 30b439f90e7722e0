"""One per process: viewers of any number share one pub/sub connection. design.md decision 10.

The hub only ever hands out hints. It says "read a page" whenever it can't be sure of a notice: after a resubscribe,
when a viewer's buffer ran over, and when the audit finds a tail that no notice spoke of.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Any, Self

from redis.exceptions import RedisError

from broker.errors import RejoinderError
from broker.keys import Keys
from broker.log import StreamLog
from broker.notices import Notice, parse_notice
from broker.position import Position
from broker.redis import Redis
from broker.scripts import Scripts
from broker.tasks import end

_log = logging.getLogger(__name__)

NOTICES_HELD = 256
BYTES_HELD = 256 * 1024
AUDIT_S = 2.0
"""How often quiet logs are looked at, in case a notice was lost."""
PING_S = 2.0
SILENCE_S = 8.0
"""Without even a pong for so long, the connection is taken for dead."""
VIEWER_HOLD_MS = 15_000
VIEWER_RENEW_S = 5.0
_BATCH = 512


def viewers_settle_s() -> float:
    """How long after trouble with Redis nobody is taken for unwatched: the viewers' nodes had it too."""
    return 2 * VIEWER_HOLD_MS / 1000


class Subscription:
    """One viewer's hints, bounded: what does not fit becomes the hint to read a page."""

    def __init__(self) -> None:
        self._notices: deque[Notice] = deque()
        self._held = 0
        self._page = False
        self._wake = asyncio.Event()

    def offer(self, notice: Notice) -> None:
        """Take a notice, or note that a page is needed."""
        if self._page:
            return
        if not notice.entries or len(self._notices) >= NOTICES_HELD or self._held + notice.size > BYTES_HELD:
            self.need_page()
            return
        self._notices.append(notice)
        self._held += notice.size
        self._wake.set()

    def need_page(self) -> None:
        """What is held is still good; behind it the next read must be a page."""
        self._page = True
        self._wake.set()

    async def wait(self, timeout_s: float | None = None) -> list[Notice]:
        """Notices in order; empty = read a page. ``timeout_s`` past, it is empty too."""
        if timeout_s is None:
            await self._wake.wait()
        else:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._wake.wait()
        notices = list(self._notices)
        self._notices.clear()
        self._held = 0
        if not notices:
            self._page = False
        if not self._page:
            self._wake.clear()
        return notices


class _Channel:
    """The viewers of one log in this process."""

    def __init__(self) -> None:
        self.viewers: set[Subscription] = set()
        self.ready = asyncio.Event()
        self.seen: Position | None = None
        """The last entry a notice or the audit spoke of."""
        self.leased = False

    def wake(self) -> None:
        for viewer in self.viewers:
            viewer.need_page()


class Hub:
    """Async context manager; owns its client, of one connection, and its tasks."""

    def __init__(self, redis: Redis, keys: Keys, log: StreamLog, scripts: Scripts, node: str) -> None:
        self._keys = keys
        self._log = log
        self._scripts = scripts
        self._node = node
        self._redis = redis
        self._pubsub = redis.pubsub()
        self._channels: dict[str, _Channel] = {}
        self._by_name: dict[bytes, str] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._connected = asyncio.Event()
        self._send = asyncio.Lock()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(job()) for job in (self._listen, self._audit, self._keep_leases)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await end(*self._tasks)
        await self._disconnect()
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()

    @property
    def viewers(self) -> int:
        """Open viewers in this process."""
        return sum(len(channel.viewers) for channel in self._channels.values())

    @contextlib.asynccontextmanager
    async def subscribe(self, generation: str) -> AsyncGenerator[Subscription]:
        """A viewer's hints. Read the log first behind :meth:`ready`, or miss what comes between."""
        viewer = Subscription()
        channel = self._channels.get(generation)
        fresh = channel is None
        if channel is None:
            channel = self._channels[generation] = _Channel()
            self._by_name[self._keys.channel(generation).encode()] = generation
        # Before any await: a channel without viewers is dropped by whoever leaves it last.
        channel.viewers.add(viewer)
        try:
            if fresh:
                await self._command("subscribe", generation)
            yield viewer
        finally:
            channel.viewers.discard(viewer)
            if not channel.viewers and self._channels.get(generation) is channel:
                await self._drop(generation, channel)

    async def _drop(self, generation: str, channel: _Channel) -> None:
        del self._channels[generation]
        del self._by_name[self._keys.channel(generation).encode()]
        try:
            if channel.leased:
                with contextlib.suppress(RejoinderError):
                    await asyncio.shield(self._scripts.watch(generation, self._node, 0))
        finally:
            # Also for a viewer who is cancelled while giving its lease back.
            if generation not in self._channels:
                await self._command("unsubscribe", generation)

    async def ready(self, generation: str) -> None:
        """Return once Redis has confirmed the subscription."""
        channel = self._channels.get(generation)
        if channel is not None:
            await channel.ready.wait()

    async def count_viewers(self, generation: str) -> None:
        """Hold a viewers' lease for this log as long as it has a viewer here (decision 12)."""
        channel = self._channels.get(generation)
        if channel is not None and not channel.leased:
            channel.leased = True
            await self._scripts.watch(generation, self._node, VIEWER_HOLD_MS)

    async def _command(self, verb: str, *generations: str) -> None:
        """Send (un)subscribe; a failure is mended by the listener, who subscribes anew after every reconnect."""
        names = [self._keys.channel(generation) for generation in generations]
        if not self._connected.is_set():
            return
        async with self._send:
            if self._connected.is_set():
                try:
                    await getattr(self._pubsub, verb)(*names)
                except (RedisError, OSError):
                    self._connected.clear()

    async def _listen(self) -> None:
        delay = 0.05
        while True:
            try:
                await self._connect()
                delay = 0.05
                await self._read()
            except (RedisError, OSError) as error:
                _log.warning("notices interrupted: %s: %s", type(error).__name__, error)
            await self._disconnect()
            await asyncio.sleep(delay)
            delay = min(delay * 2, 1.0)

    async def _connect(self) -> None:
        """Only here is a connection made: redis-py would let reader and sender each make one at the same time."""
        async with self._send:
            await self._pubsub.subscribe(self._keys.control)
            self._connected.set()
        names = list(self._channels)
        for at in range(0, len(names), _BATCH):
            await self._command("subscribe", *names[at : at + _BATCH])

    async def _disconnect(self) -> None:
        self._connected.clear()
        for channel in self._channels.values():
            channel.ready.clear()
        async with self._send:
            with contextlib.suppress(RedisError, OSError):
                await self._pubsub.aclose()

    async def _read(self) -> None:
        clock = asyncio.get_running_loop().time
        heard = clock()
        while self._connected.is_set():
            message = await self._pubsub.get_message(timeout=PING_S)
            if message is not None:
                heard = clock()
                self._on_message(message)
            elif clock() - heard > SILENCE_S:
                return
            else:
                async with self._send:
                    if self._connected.is_set():
                        await self._pubsub.ping()

    def _on_message(self, message: dict[str, Any]) -> None:
        generation = self._by_name.get(message["channel"] or b"")
        channel = self._channels.get(generation) if generation is not None else None
        if channel is None:
            return
        if message["type"] == "subscribe":
            channel.ready.set()
            channel.wake()
        elif message["type"] == "message":
            notice = parse_notice(message["data"])
            channel.seen = notice.top or channel.seen
            for viewer in channel.viewers:
                viewer.offer(notice)

    async def _audit(self) -> None:
        """Wake the viewers of logs whose tail is not where the notices left it: one pipeline for all of them."""
        while True:
            await asyncio.sleep(AUDIT_S)
            names = list(self._channels)
            for at in range(0, len(names), _BATCH):
                batch = names[at : at + _BATCH]
                try:
                    tops = await self._log.tops(batch)
                except RejoinderError:
                    break
                for generation, top in zip(batch, tops, strict=True):
                    channel = self._channels.get(generation)
                    if channel is not None and (top is None or channel.seen is None or top > channel.seen):
                        channel.seen = top
                        channel.wake()

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(VIEWER_RENEW_S)
            for generation in [name for name, channel in self._channels.items() if channel.leased]:
                with contextlib.suppress(RejoinderError):
                    await self._scripts.watch(generation, self._node, VIEWER_HOLD_MS)
