"""The pages of logs that one node reads, shared by all its readers.

A *full* page is immutable by its position: whoever holds that position gets these entries next, today and later. So it
may be kept and handed to others, and what an encoder leaves in its batch serves them too. Should the server have
forgotten that stretch meanwhile, then the reader's next read, which begins at the page's last entry *inclusive*, finds
that out and is reset, exactly like a reader that was there before the loss; and all pages of that log are dropped, or
they would lead it there again. Whether a log exists, and whose it is, is
not for this module to say: a reader asks that first, in every request.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from broker.errors import LogDamaged, LogUnavailable
from broker.log import StreamLog
from broker.position import START, Position
from broker.rows import Row, fold_rows, position_of
from broker.tail_items import Batch

PAGE_ENTRIES = 1000
_ENTRY_BYTES = 300
"""What an entry takes beside its text, about."""

Key: TypeAlias = tuple[str, Position, bool]
"""Generation, position, merged."""


@dataclass(slots=True)
class SharedPage:
    """What a reader at one position finds. Read only, but for what encoders leave in the batch."""

    kind: Literal["entries", "nothing", "foreign"]
    """``nothing``: not even the position itself; ``foreign``: another entry in its place."""
    batch: Batch
    last: Position
    """The position of the last entry."""
    full: bool
    """There may be more."""
    log_ended: bool
    """The log had its terminal event when this was read."""
    bytes: int = 0
    """Of the entries' values."""
    _weighed: tuple[int, int] = field(default=(-1, 0))

    @property
    def weight(self) -> int:
        """Bytes it takes, with what encoders have left in it."""
        encoded = self.batch.encoded
        if self._weighed[0] != len(encoded):
            left = sum(len(piece) for pieces in encoded.values() for piece in pieces)
            self._weighed = len(encoded), 2 * self.bytes + _ENTRY_BYTES * len(self.batch.entries) + left
        return self._weighed[1]


class _Flight:
    """A read under way, and who waits for it."""

    __slots__ = ("number", "waiting")

    def __init__(self, number: int) -> None:
        self.number = number
        self.waiting: list[asyncio.Future[SharedPage | None]] = []

    def fail(self, error: LogUnavailable) -> None:
        """Redis is away for all of them."""
        for future in self.waiting:
            if not future.done():
                future.set_exception(error)

    def land(self, page: SharedPage | None) -> None:
        """Tell them; None = it came to nothing, read for yourselves."""
        for future in self.waiting:
            if not future.done():
                future.set_result(page)


class Pages:
    """Reads, one at a time for each position, and keeps full pages within ``budget`` bytes; 0 = keeps none."""

    def __init__(self, log: StreamLog, budget: int) -> None:
        self._log = log
        self._budget = budget
        self._kept: OrderedDict[Key, tuple[SharedPage, int]] = OrderedDict()
        self._keys: dict[str, set[Key]] = {}
        """Of each generation, what is kept."""
        self._flights: dict[Key, _Flight] = {}
        self._numbers = 0
        self.held = 0
        """Bytes kept."""

    async def read(self, generation: str, position: Position, *, merge: bool) -> SharedPage:
        """What lies behind a position.

        A read that was sent before this call may miss what was written in between, so only a full page of it will do;
        else the next read, which everybody who waited shares.

        Raises:
            GenerationNotFound, LogExpired, LogUnavailable: as :meth:`broker.log.StreamLog.rows`.
            LogDamaged: the log has a hole.
        """
        key = generation, position, merge
        asked = self._numbers
        while True:
            page = self._find(key)
            if page is not None:
                return page
            flight = self._flights.get(key)
            if flight is None:
                return await self._fly(key)
            landing: asyncio.Future[SharedPage | None] = asyncio.get_running_loop().create_future()
            flight.waiting.append(landing)
            page = await landing
            if page is not None and (page.full or flight.number > asked):
                return page

    async def _fly(self, key: Key) -> SharedPage:
        self._numbers += 1
        flight = self._flights[key] = _Flight(self._numbers)
        page: SharedPage | None = None
        try:
            page = await self._page(*key)
            if page.kind != "entries":
                # The server has forgotten what led here: handed out again, it would lead here again.
                self.forget(key[0])
            elif page.full:
                self._keep(key, page)
        except LogUnavailable as error:
            flight.fail(error)
            raise
        else:
            return page
        finally:
            del self._flights[key]
            flight.land(page)

    def forget(self, generation: str) -> None:
        """Keep nothing of this log."""
        for key in list(self._keys.get(generation, ())):
            self._drop(key)

    def _drop(self, key: Key) -> None:
        _, weight = self._kept.pop(key)
        self.held -= weight
        keys = self._keys[key[0]]
        keys.discard(key)
        if not keys:
            del self._keys[key[0]]

    async def _page(self, generation: str, position: Position, merge: bool) -> SharedPage:
        def take(rows: list[Row], full: bool, ended: bool) -> SharedPage:
            return share(rows, position, merge=merge, full=full, log_ended=ended)

        return await self._log.rows(generation, position, take, limit=PAGE_ENTRIES)

    def _find(self, key: Key) -> SharedPage | None:
        known = self._kept.get(key)
        if known is None:
            return None
        page, weight = known
        if page.weight != weight:
            self._kept[key] = page, page.weight
            self.held += page.weight - weight
        self._kept.move_to_end(key)
        self._make_room()
        return page

    def _keep(self, key: Key, page: SharedPage) -> None:
        self._kept[key] = page, page.weight
        self._keys.setdefault(key[0], set()).add(key)
        self.held += page.weight
        self._make_room()

    def _make_room(self) -> None:
        while self.held > self._budget:
            self._drop(next(iter(self._kept)))


def share(rows: list[Row], position: Position, *, merge: bool, full: bool, log_ended: bool) -> SharedPage:
    """Rows read from a position *inclusive* as a page. Raises :class:`LogDamaged` for a hole."""
    empty = Batch([], live=False)
    if position != START:
        if not rows:
            return SharedPage("nothing", empty, position, full=False, log_ended=log_ended)
        if position_of(rows[0]) != position:
            return SharedPage("foreign", empty, position, full=False, log_ended=log_ended)
    known = rows[:1] if position != START else []
    fresh = rows[1:] if position != START else rows
    before = fold_rows(known, Position(position.epoch, position.seq - 1), merge=False)
    if before.ended and fresh:
        raise LogDamaged(f"the log goes on behind its end at {position}")
    folded = fold_rows(fresh, position, merge=merge)
    batch = Batch(folded.entries, live=False, ended=folded.ended or before.ended)
    size = sum(len(row[1][1]) for row in fresh)
    return SharedPage("entries", batch, folded.last, full=full, log_ended=log_ended, bytes=size)
