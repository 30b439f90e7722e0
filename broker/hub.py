"""One per process: viewers of any number share one pub/sub connection. design.md decision 10.

The hub only ever hands out hints. It says "read a page" whenever it can't be sure of a notice: after a resubscribe,
when a viewer's buffer ran over, and when the audit finds a tail that no notice spoke of.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

from broker.channel import Channel, Subscription
from broker.errors import RejoinderError
from broker.feed import Feed, Listener
from broker.keys import Keys
from broker.log import StreamLog
from broker.notices import Notice, parse_notice
from broker.scripts import Scripts
from broker.tasks import end

AUDIT_S = 2.0
"""How often quiet logs are looked at, in case a notice was lost."""
POLL_S = 0.2
"""The same, where there are no notices at all."""
VIEWER_HOLD_MS = 15_000
VIEWER_RENEW_S = 5.0
_BATCH = 512


def viewers_settle_s() -> float:
    """How long after trouble with Redis nobody is taken for unwatched: the viewers' nodes had it too."""
    return 2 * VIEWER_HOLD_MS / 1000


class Hub:
    """Async context manager; owns its feed and its tasks. ``notices`` = the feed brings any."""

    def __init__(
        self,
        feed: Callable[[Listener], Feed],
        keys: Keys,
        log: StreamLog,
        scripts: Scripts,
        node: str,
        *,
        notices: bool = True,
    ) -> None:
        self._keys = keys
        self._log = log
        self._scripts = scripts
        self._node = node
        self._notices = notices
        self._feed = feed(self)
        self._channels: dict[str, Channel] = {}
        self._by_name: dict[bytes, Channel] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(job()) for job in (self._feed.run, self._audit, self._keep_leases)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await end(*self._tasks)

    @property
    def viewers(self) -> int:
        """Open viewers in this process."""
        return sum(map(len, self._channels.values()))

    def subscribe(self, generation: str, *, frugal: bool = False) -> Subscription:
        """A viewer's hints: an async context manager; ``frugal`` as in :class:`broker.channel.Hints`.

        Read the log first behind :meth:`ready`, or miss what comes between.
        """
        channel = self._channels.get(generation)
        if channel is not None:
            return channel.enter(frugal=frugal)
        channel = self._channels[generation] = Channel(generation, self._drop)
        name = self._keys.channel(generation)
        self._by_name[name.encode()] = channel
        self._feed.subscribe([name])
        return channel.enter(frugal=frugal)

    async def _drop(self, channel: Channel) -> None:
        """Nobody is left in this channel, unless somebody comes while its lease is given back."""
        generation = channel.generation
        if self._channels.get(generation) is not channel:
            return
        del self._channels[generation]
        name = self._keys.channel(generation)
        del self._by_name[name.encode()]
        try:
            if channel.leased:
                await asyncio.shield(self._give_back(generation))
        finally:
            # Also for a viewer who is cancelled while giving its lease back.
            if generation not in self._channels:
                self._feed.unsubscribe([name])

    async def _give_back(self, generation: str) -> None:
        """The viewers' lease of this node. Raises nothing: who asked for it may be gone."""
        with contextlib.suppress(RejoinderError):
            await self._scripts.watch(generation, self._node, 0)

    async def ready(self, generation: str) -> None:
        """Return once Redis has confirmed the subscription."""
        channel = self._channels.get(generation)
        if channel is not None:
            await channel.confirmed()

    async def count_viewers(self, generation: str) -> None:
        """Hold a viewers' lease for this log as long as it has a viewer here (decision 12)."""
        channel = self._channels.get(generation)
        if channel is not None and not channel.leased:
            channel.leased = True
            await self._scripts.watch(generation, self._node, VIEWER_HOLD_MS)

    # -- what the feed says ---------------------------------------------------------------------------------------

    def connected(self) -> None:
        """A connection on which nothing is subscribed yet."""
        self._feed.subscribe([self._keys.channel(generation) for generation in self._channels])

    def subscribed(self, channel: bytes) -> None:
        """Redis has confirmed it; what was written before may have been missed."""
        here = self._by_name.get(channel)
        if here is not None:
            here.confirm()

    def heard(self, messages: list[tuple[bytes, bytes]]) -> None:
        """All that one read of the connection brought, joined for each log."""
        joined: dict[Channel, list[Notice]] = {}
        for name, payload in messages:
            channel = self._by_name.get(name)
            if channel is None:
                continue
            notices = joined.get(channel)
            if notices is None:
                joined[channel] = [parse_notice(payload)]
            else:
                notices.append(parse_notice(payload))
        for channel, notices in joined.items():
            channel.tell(notices)

    def lost(self) -> None:
        """The connection broke: nothing is subscribed any more."""
        for channel in self._channels.values():
            channel.ready = False

    # -- what is done every now and then --------------------------------------------------------------------------

    async def _audit(self) -> None:
        """Wake the viewers of quiet logs whose tail is not where the notices left it."""
        while True:
            await asyncio.sleep(AUDIT_S if self._notices else POLL_S)
            quiet = [name for name, channel in self._channels.items() if not channel.heard]
            for channel in self._channels.values():
                channel.heard = False
            for names in _parts(quiet):
                try:
                    tops = await self._log.tops(names)
                except RejoinderError:
                    break
                for generation, top in zip(names, tops, strict=True):
                    channel = self._channels.get(generation)
                    if channel is not None and (top is None or channel.seen is None or top > channel.seen):
                        channel.seen = top
                        channel.wake()

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(VIEWER_RENEW_S)
            leased = [name for name, channel in self._channels.items() if channel.leased]
            for names in _parts(leased):
                await asyncio.gather(*map(self._renew, names))

    async def _renew(self, generation: str) -> None:
        with contextlib.suppress(RejoinderError):
            await self._scripts.watch(generation, self._node, VIEWER_HOLD_MS)


def _parts(names: list[str]) -> Iterator[Sequence[str]]:
    """So many that one round trip stays short."""
    return (names[at : at + _BATCH] for at in range(0, len(names), _BATCH))
