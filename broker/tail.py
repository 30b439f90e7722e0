"""A reader's whole way through a log: replay, live, resets, holds. The shell round :class:`broker.follow.Follower`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Literal

from broker.channel import Subscription
from broker.errors import GenerationNotFound, LogLost, LogUnavailable
from broker.events import Entry
from broker.follow import Follower
from broker.hub import Hub
from broker.log import Stat, StreamLog, existing
from broker.notices import Notice
from broker.pages import Pages, SharedPage
from broker.position import Position
from broker.tail_items import Batch, Live, Reset, TailItem, Turn, Viewer

REPAIR_S = 2.0
"""How long a position beyond the tail of a running log waits for the writer's repair (contract section 4)."""
_SUBSCRIBE_S = 1.0
_BACK_OFF_S = (0.05, 0.1, 0.2, 0.4, 0.8)


class Tail:
    """One reader of one log; iterate :meth:`items` once."""

    __slots__ = (
        "_follower",
        "_generation",
        "_hold_s",
        "_hub",
        "_log",
        "_merge",
        "_pages",
        "_served",
        "_stat",
        "_tenant",
        "_turn",
        "_viewer",
    )

    def __init__(
        self,
        log: StreamLog,
        pages: Pages,
        hub: Hub,
        generation: str,
        after: Position,
        *,
        tenant: str | None,
        replay: Literal["merged", "exact"],
        hold_s: float,
        viewer: Viewer | None = None,
        turn: Turn | None = None,
        stat: Stat | None = None,
    ) -> None:
        self._log = log
        self._pages = pages
        self._stat = stat
        """What the caller has just seen of this log, on behalf of this reader."""
        self._hub = hub
        self._generation = generation
        self._tenant = tenant
        self._merge = replay == "merged"
        self._hold_s = hold_s
        self._follower = Follower(after)
        self._viewer = viewer
        """Who is written to directly while at the tail."""
        self._turn = turn
        """By which pages are read only when they can be written: nothing is held then but the position."""
        self._served = False
        """The log was there at the first read: its absence later is a loss."""

    async def items(self) -> AsyncGenerator[TailItem, None]:
        """Everything from the position on; ends only after the terminal event.

        Raises:
            GenerationNotFound, LogExpired: at the first read.
            LogLost: the log went away under the reader.
            LogUnavailable: Redis was away for longer than the hold.
            LogDamaged: the log has a hole.
        """
        follower = self._follower
        live = False
        async with self._hub.subscribe(self._generation, frugal=self._turn is not None) as hints:
            while not follower.ended:
                page = await self._step(hints)
                if page is None:
                    yield Reset("position_not_in_log")
                    continue
                if page.batch.entries:
                    yield page.batch
                more = self._left() or page.full or follower.ended
                # A reader may wait for its turn, or stay at the tail for hours: it must not keep what it has read.
                del page
                if more:
                    continue
                if not live:
                    live = True
                    yield Live()
                if self._turn is not None:
                    self._turn.done()
                whole = True
                while whole and not follower.ended and not await self._in_crowd(hints):
                    entries, whole = await self._hear(hints)
                    if entries:
                        yield Batch(entries, live=True, ended=follower.ended)
                    del entries
                    whole = not self._left() and whole
                    if self._turn is not None:
                        self._turn.done()

    def _left(self) -> bool:
        """Whether the reader has taken a part of its batch only: the rest is read again."""
        turn = self._turn
        if turn is None or turn.stood is None:
            return False
        self._follower.position, self._follower.ended = turn.stood, False
        turn.stood = None
        return True

    async def _in_crowd(self, hints: Subscription) -> bool:
        """Be written to directly, if there is a viewer and it stands where the others do; True = for a while it was."""
        left = hints.join(self._follower, self._viewer) if self._viewer is not None else None
        if left is not None:
            await left
        return left is not None

    async def _hear(self, hints: Subscription) -> tuple[list[Entry], bool]:
        """The next live entries, and whether they are all there is: else a page must be read."""
        notices = await hints.wait()
        if self._turn is not None and not (notices and await self._turn.begin_at_once()):
            return [], False
        fresh: list[Entry] = []
        for notice in notices:
            taken = self._take(notice)
            if taken is None:
                return fresh, False
            fresh += taken
        return fresh, bool(notices)

    def _take(self, notice: Notice) -> list[Entry] | None:
        if self._follower.ended or notice.previous is None:
            return None
        return self._follower.on_notice(notice.entries, notice.previous)

    async def _step(self, hints: Subscription) -> SharedPage | None:
        """Read a page and take it; None = reset. A position beyond the tail waits for the writer's repair."""
        clock = asyncio.get_running_loop().time
        until = clock() + REPAIR_S
        while True:
            page = await self._page(hints)
            kind = self._follower.on_shared(page, patient=clock() < until)
            if kind != "ahead":
                return page if kind == "entries" else None
            if self._turn is not None:
                self._turn.done()
            await hints.wait(min(0.25, max(until - clock(), 0.01)))

    async def _page(self, hints: Subscription) -> SharedPage:
        """The next page; while Redis is away, tried again until the hold is over."""
        if self._turn is not None:
            await self._turn.begin()
        clock = asyncio.get_running_loop().time
        until = clock() + self._hold_s
        tries = 0
        while True:
            try:
                return await self._read(hints, until)
            except LogUnavailable:
                if clock() >= until:
                    raise
            await asyncio.sleep(_BACK_OFF_S[min(tries, len(_BACK_OFF_S) - 1)])
            tries += 1

    async def _read(self, hints: Subscription, until: float) -> SharedPage:
        try:
            async with asyncio.timeout_at(max(until, asyncio.get_running_loop().time() + _SUBSCRIBE_S)):
                await self._hub.ready(self._generation)
            hints.page_begins()
            if not self._served:
                await self._look()
            return await self._pages.read(self._generation, self._follower.position, merge=self._merge)
        except TimeoutError:
            raise LogUnavailable("no subscription") from None
        except GenerationNotFound:
            if self._served:
                raise LogLost from None
            raise

    async def _look(self) -> None:
        """Is there such a log, for this tenant? Pages are shared, and don't say."""
        stat = self._stat or existing(await self._log.stat(self._generation, tenant=self._tenant))
        self._stat = None
        self._served = True
        if stat.cancel_after_ms is not None and not stat.ended:
            await self._hub.count_viewers(self._generation)
