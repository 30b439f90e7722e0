"""The viewers of one log in one process, and what each of them is told. No IO; design.md decision 10.

Viewers that stand at the tail and can be written to without waiting form the *crowd*: all of them have the same
position, so a notice is checked once and its entries are handed to each in turn. Everybody else is given hints.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self

from broker.errors import LogDamaged
from broker.events import Entry
from broker.follow import Follower
from broker.notices import Notice
from broker.position import Position
from broker.tail_items import Batch, Viewer

NOTICES_HELD = 256
BYTES_HELD = 256 * 1024


class Hints:
    """One viewer's hints, bounded: what does not fit becomes the hint to read a page.

    ``frugal`` = keep nothing for a viewer that is not waiting for it.
    """

    __slots__ = ("_frugal", "_held", "_notices", "_page", "_waiter")

    def __init__(self, *, frugal: bool = False) -> None:
        self._frugal = frugal
        self._notices: list[Notice] = []
        self._held = 0
        self._page = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def pending(self) -> bool:
        """Whether :meth:`wait` would answer at once."""
        return self._page or bool(self._notices)

    def offer(self, notice: Notice) -> None:
        """Take a notice, or note that a page is needed."""
        if self._page:
            return
        full = len(self._notices) >= NOTICES_HELD or self._held + notice.size > BYTES_HELD
        if not notice.entries or full or (self._frugal and self._waiter is None):
            self.need_page()
            return
        self._notices.append(notice)
        self._held += notice.size
        self._wake()

    def need_page(self) -> None:
        """What is held is still good; behind it the next read must be a page."""
        self._page = True
        self._wake()

    def page_begins(self) -> None:
        """A page is about to be asked for: it will hold all that a page was needed for until now."""
        self._page = False

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, timeout_s: float | None = None) -> list[Notice]:
        """Notices in order; empty = read a page. ``timeout_s`` past, it is empty too."""
        if not self.pending:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                if timeout_s is None:
                    await self._waiter
                else:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(timeout_s):
                            await self._waiter
            finally:
                self._waiter = None
        notices, self._notices = self._notices, []
        self._held = 0
        if not notices:
            self._page = False
        return notices


class Subscription(Hints):
    """One viewer's place in a channel; leaves it as an async context manager."""

    __slots__ = ("_channel", "_follower", "left")

    def __init__(self, channel: Channel, *, frugal: bool = False) -> None:
        super().__init__(frugal=frugal)
        self._channel = channel
        self._follower: Follower | None = None
        self.left: asyncio.Future[None] | None = None
        """While in the crowd: done when this viewer has been let go of."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.leave(self)

    def join(self, follower: Follower, viewer: Viewer) -> asyncio.Future[None] | None:
        """Into the crowd, where ``follower`` stands; it moves when the future, the answer, is done. None = not there.

        The reader must have taken all its hints: it stands where the last one left it.
        """
        if self.pending or not self._channel.admit(self, viewer, follower.position):
            return None
        self._follower = follower
        self.left = asyncio.get_running_loop().create_future()
        return self.left

    def let_go(self, position: Position, *, ended: bool) -> None:
        """Out of the crowd, at this position."""
        if self._follower is not None and self.left is not None:
            self._follower.position, self._follower.ended = position, ended
            if not self.left.done():
                self.left.set_result(None)


class Channel:
    """The viewers of one log in this process; ``left`` is awaited when the last one leaves."""

    __slots__ = ("_alone", "_crowd", "_follower", "_left", "_waiting", "generation", "heard", "leased", "ready", "seen")

    def __init__(self, generation: str, left: Callable[[Channel], Awaitable[None]]) -> None:
        self.generation = generation
        self._left = left
        self.ready = False
        """Redis has confirmed the subscription, on the connection there is now."""
        self._waiting: list[asyncio.Future[None]] = []
        self.seen: Position | None = None
        """The last entry a notice or the audit spoke of."""
        self.heard = False
        """A notice has come since the last audit."""
        self.leased = False
        # A dict, for an empty set takes three times as much room.
        self._alone: dict[Subscription, None] = {}
        self._crowd: dict[Subscription, Viewer] = {}
        self._follower = Follower()

    def __len__(self) -> int:
        return len(self._alone) + len(self._crowd)

    def confirm(self) -> None:
        """The subscription stands; what was written before it may have been missed."""
        self.ready = True
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)
        self._waiting = []
        self.wake()

    async def confirmed(self) -> None:
        """Return once the subscription stands."""
        while not self.ready:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter

    def enter(self, *, frugal: bool = False) -> Subscription:
        """One more viewer; see :class:`Hints`."""
        viewer = Subscription(self, frugal=frugal)
        self._alone[viewer] = None
        return viewer

    async def leave(self, viewer: Subscription) -> None:
        """One viewer less."""
        self._alone.pop(viewer, None)
        self._crowd.pop(viewer, None)
        if not len(self):
            await self._left(self)

    def admit(self, hints: Subscription, viewer: Viewer, position: Position) -> bool:
        """Into the crowd, if that is where the crowd stands."""
        if not self._crowd:
            self._follower = Follower(position)
        elif self._follower.position != position:
            return False
        self._alone.pop(hints, None)
        self._crowd[hints] = viewer
        return True

    def tell(self, notices: Sequence[Notice]) -> None:
        """Hand on what came in one go."""
        self.heard = True
        self.seen = notices[-1].top or self.seen
        for hints in self._alone:
            for notice in notices:
                hints.offer(notice)
        if self._crowd:
            self._tell_crowd(notices)

    def wake(self) -> None:
        """Everybody reads a page."""
        for hints in self._alone:
            hints.need_page()
        self._disperse(self._follower.position, ended=False)

    def _tell_crowd(self, notices: Sequence[Notice]) -> None:
        follower, before = self._follower, self._follower.position
        try:
            entries, whole = _continuation(follower, notices)
        except LogDamaged:
            # Let the log itself say so.
            self._disperse(before, ended=False)
            return
        if entries:
            batch = Batch(entries, live=True, ended=follower.ended)
            refused = [hints for hints, viewer in self._crowd.items() if not viewer.take(batch)]
            for hints in refused:
                self._let_go(hints, before, ended=False)
        if follower.ended or not whole:
            self._disperse(follower.position, ended=follower.ended)

    def _disperse(self, position: Position, *, ended: bool) -> None:
        for hints in list(self._crowd):
            self._let_go(hints, position, ended=ended)

    def _let_go(self, hints: Subscription, position: Position, *, ended: bool) -> None:
        del self._crowd[hints]
        self._alone[hints] = None
        hints.let_go(position, ended=ended)


def _continuation(follower: Follower, notices: Sequence[Notice]) -> tuple[list[Entry], bool]:
    """The entries that go on from where the follower stands, and whether that is all there is."""
    entries: list[Entry] = []
    for notice in notices:
        if not notice.entries or notice.previous is None:
            return entries, False
        taken = follower.on_notice(notice.entries, notice.previous)
        if taken is None:
            return entries, False
        entries = entries + taken if entries else taken
        if follower.ended:
            break
    return entries, True
