"""The one subscription connection of a process: three ways to hear of new entries (``REJOINDER_LIVE``).

A feed never waits for anybody and keeps nothing: whoever listens is told when a connection is new, and then subscribes
to all it wants anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Any, Protocol

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from broker.link import Link, pack
from broker.redis import Redis
from broker.tasks import end

_log = logging.getLogger(__name__)

PING_S = 2.0
SILENCE_S = 8.0
"""Without even a pong for so long, the connection is taken for dead."""
_BATCH = 512
_BACK_OFF_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
_PING = pack("PING")


class Listener(Protocol):
    """Who is told what the feed hears; none of these may wait or raise."""

    def connected(self) -> None:
        """A connection on which nothing is subscribed yet."""
        ...

    def subscribed(self, channel: bytes) -> None:
        """Redis has confirmed a subscription."""
        ...

    def heard(self, messages: list[tuple[bytes, bytes]]) -> None:
        """Channel and payload of all messages that one read brought, in order."""
        ...

    def lost(self) -> None:
        """The connection broke: nothing is subscribed any more."""
        ...


class Feed(Protocol):
    """A subscription connection."""

    async def run(self) -> None:
        """Connect, read, and connect again, until cancelled."""
        ...

    def subscribe(self, channels: Sequence[str]) -> None:
        """Ask for these; ignored while there is no connection, for the listener is told of the next one."""
        ...

    def unsubscribe(self, channels: Sequence[str]) -> None:
        """Ask for these no more."""
        ...


class DirectFeed:
    """Driven by the socket: all messages of one read are handed over in one call, without a wake of any task."""

    def __init__(self, redis: Redis, listener: Listener) -> None:
        self._redis = redis
        self._listener = listener
        self._link: Link | None = None
        self._out: list[bytes] = []
        self._heard_at = 0.0
        self._broken = asyncio.Event()

    async def run(self) -> None:
        """See :class:`Feed`."""
        tries = 0
        try:
            while True:
                if await self._connect():
                    # Back at once after a break, but not where Redis refuses us time and again.
                    tries = 0 if await self._watch() else tries
                await asyncio.sleep(_BACK_OFF_S[min(tries, len(_BACK_OFF_S) - 1)])
                tries += 1
        finally:
            self._drop()
            with contextlib.suppress(RedisError, OSError):
                await self._redis.aclose()

    async def _connect(self) -> bool:
        link = Link(self._replies, self._lost)
        try:
            await link.open(self._redis)
        except (RedisError, OSError) as error:
            _log.warning("notices interrupted: %s: %s", type(error).__name__, error)
            return False
        if not link.open_still:
            link.close()
            return False
        self._link = link
        self._heard_at = asyncio.get_running_loop().time()
        self._broken.clear()
        self._listener.connected()
        return True

    async def _watch(self) -> bool:
        """Ask into a silence, and give a connection up that does not answer; answers, when it is gone, if it lasted."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        while not self._broken.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PING_S):
                    await self._broken.wait()
            silent_s = clock() - self._heard_at
            if (link := self._link) is None:
                break
            if silent_s > SILENCE_S:
                link.close(RedisConnectionError("silence"))
            elif silent_s >= PING_S / 2:
                link.write(_PING)
        return clock() - begun >= PING_S

    def _lost(self, link: Link, error: Exception) -> None:
        if link is self._link:
            _log.warning("notices interrupted: %s: %s", type(error).__name__, error)
            self._drop()
            self._listener.lost()

    def _drop(self) -> None:
        link, self._link = self._link, None
        self._out.clear()
        self._broken.set()
        if link is not None:
            link.close()

    def subscribe(self, channels: Sequence[str]) -> None:
        """See :class:`Feed`; what is asked for in one turn of the loop leaves in one write."""
        self._ask("SUBSCRIBE", channels)

    def unsubscribe(self, channels: Sequence[str]) -> None:
        """See :class:`Feed`."""
        self._ask("UNSUBSCRIBE", channels)

    def _ask(self, verb: str, channels: Sequence[str]) -> None:
        if self._link is None or not channels:
            return
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        for at in range(0, len(channels), _BATCH):
            self._out.append(pack(verb, *channels[at : at + _BATCH]))

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._link is not None and out:
            self._link.write(b"".join(out))

    def _replies(self, replies: list[Any]) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        messages: list[tuple[bytes, bytes]] = []
        for reply in replies:
            if isinstance(reply, Exception):
                self._refused(reply)
            elif reply[0] == b"message":
                messages.append((reply[1], reply[2]))
            elif reply[0] == b"subscribe":
                # What was heard before it is handed over before it.
                if messages:
                    self._listener.heard(messages)
                    messages = []
                self._listener.subscribed(reply[1])
        if messages:
            self._listener.heard(messages)

    def _refused(self, error: Exception) -> None:
        """An error in place of a confirmation (a missing permission, say): whoever waits for it must not wait on."""
        if self._link is not None:
            self._link.close(error)


class PlainFeed:
    """redis-py's own PubSub: slower, and nothing of ours between it and the socket."""

    def __init__(self, redis: Redis, listener: Listener) -> None:
        self._redis = redis
        self._listener = listener
        self._pubsub: Any = redis.pubsub()
        self._wanted: list[tuple[str, Sequence[str]]] = []
        self._asked = asyncio.Event()
        self._up = False

    async def run(self) -> None:
        """See :class:`Feed`."""
        tries = 0
        try:
            while True:
                try:
                    await self._serve()
                except (RedisError, OSError) as error:
                    _log.warning("notices interrupted: %s: %s", type(error).__name__, error)
                tries = 0 if self._up else tries
                await self._drop()
                await asyncio.sleep(_BACK_OFF_S[min(tries, len(_BACK_OFF_S) - 1)])
                tries += 1
        finally:
            await self._drop()
            with contextlib.suppress(RedisError, OSError):
                await self._redis.aclose()

    async def _serve(self) -> None:
        """Only here is a connection made: redis-py would let reader and sender each make one at the same time."""
        await self._pubsub.connect()
        self._up = True
        self._listener.connected()
        sending = asyncio.get_running_loop().create_task(self._send())
        reading = asyncio.get_running_loop().create_task(self._read())
        try:
            done, _ = await asyncio.wait([sending, reading], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await end(sending, reading)

    async def _send(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            wanted, self._wanted = self._wanted, []
            for verb, channels in wanted:
                for at in range(0, len(channels), _BATCH):
                    await getattr(self._pubsub, verb)(*channels[at : at + _BATCH])

    async def _read(self) -> None:
        clock = asyncio.get_running_loop().time
        heard = pinged = clock()
        while True:
            message = await self._pubsub.get_message(timeout=PING_S) if self._pubsub.subscribed else None
            if message is not None:
                heard = clock()
                self._take(message)
                continue
            if not self._pubsub.subscribed:
                await asyncio.sleep(_BACK_OFF_S[0])
                heard = max(heard, pinged)
            if clock() - heard > SILENCE_S:
                return
            if clock() - pinged >= PING_S / 2 and self._pubsub.subscribed:
                pinged = clock()
                await self._pubsub.ping()

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            self._listener.subscribed(message["channel"])
        elif message["type"] == "message":
            self._listener.heard([(message["channel"], message["data"])])

    async def _drop(self) -> None:
        was_up, self._up = self._up, False
        self._wanted.clear()
        with contextlib.suppress(RedisError, OSError):
            await self._pubsub.aclose()
        if was_up:
            self._listener.lost()

    def subscribe(self, channels: Sequence[str]) -> None:
        """See :class:`Feed`."""
        self._ask("subscribe", channels)

    def unsubscribe(self, channels: Sequence[str]) -> None:
        """See :class:`Feed`."""
        self._ask("unsubscribe", channels)

    def _ask(self, verb: str, channels: Sequence[str]) -> None:
        if self._up and channels:
            self._wanted.append((verb, channels))
            self._asked.set()


class NoFeed:
    """No notices at all: the listener looks for itself (``REJOINDER_LIVE=poll``)."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    async def run(self) -> None:
        """See :class:`Feed`."""
        self._listener.connected()
        await asyncio.Event().wait()

    def subscribe(self, channels: Sequence[str]) -> None:
        """Confirmed at once: there is nothing to wait for."""
        for channel in channels:
            self._listener.subscribed(channel.encode())

    def unsubscribe(self, channels: Sequence[str]) -> None:
        """Nothing was subscribed."""
