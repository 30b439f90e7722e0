"""One generation on a WebSocket: a reader of its log that holds nothing but its position while it waits.

At the tail, live entries are written from where they are heard (:meth:`Subscription.take`), without a wake of any
task. A socket that is behind is refused them; then its generations read their logs by turns, a page at a time, each
from its own position.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from api.door import Door
from api.ws_frames import event_messages
from api.ws_wire import Gone, Out, Piece
from broker.position import Position
from broker.tail_items import Batch, TailItem
from broker.telemetry import NodeMetrics

LONGEST_TURN = 256 * 1024
"""Bytes after which a turn is over though the socket keeps up: what is left of the page is read once more."""


class Turns:
    """One socket's readers, one at a time, in the order in which they asked."""

    def __init__(self, out: Out) -> None:
        self.out = out
        self.lock = asyncio.Lock()
        self.waiting = 0
        """How many would like to have their turn."""


class Turn:
    """One reader's turns: ``broker.tail_items.Turn``."""

    __slots__ = ("_has", "_turns", "stood")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._has = False
        self.stood: Position | None = None

    def over(self, written: int) -> bool:
        """Whether it is somebody else's turn after so many bytes: after one piece, where the socket is behind."""
        return self._turns.waiting > 0 and (self._turns.out.behind or written >= LONGEST_TURN)

    async def begin(self) -> None:
        """See ``broker.tail_items.Turn``."""
        self.done()
        self._turns.waiting += 1
        try:
            await self._turns.lock.acquire()
        finally:
            self._turns.waiting -= 1
        self._has = True

    async def begin_at_once(self) -> bool:
        """See ``broker.tail_items.Turn``."""
        turns = self._turns
        if turns.waiting or turns.lock.locked() or turns.out.behind:
            return False
        # Nobody else has it, so this does not wait.
        await self.begin()
        return True

    def done(self) -> None:
        """See ``broker.tail_items.Turn``."""
        if self._has:
            self._has = False
            self._turns.lock.release()


class Subscription:
    """One generation, from a position on; a viewer as ``on_disconnect`` counts it."""

    def __init__(self, generation: str, out: Out, metrics: NodeMetrics) -> None:
        self.generation = generation
        self.task: asyncio.Task[None] | None = None
        self._out = out
        self._metrics = metrics
        self._begun = False
        self._ended = False
        self._silent = False

    async def run(self, broker: Door, tenant: str, after: Position, turn: Turn, *, direct: bool) -> bool:
        """Write everything behind ``after``, to the end; False when there was nothing: the log ends there.

        Raises:
            Stalled, Gone: the socket takes nothing, or is not there any more.
            RejoinderError: what the log says.
            LogCut: the log came to no end.
        """
        self._metrics.viewers += 1
        viewer = self if direct else None
        try:
            items = broker.tail(self.generation, after, tenant=tenant, viewer=viewer, turn=turn)
            async with aclosing(items):
                async for item in items:
                    await self._write(item, turn)
                    # The next one may be hours away, or its turn far.
                    del item
        finally:
            turn.done()
            self._metrics.viewers -= 1
        if self._begun and not self._ended:
            raise LogCut
        return self._begun

    async def _write(self, item: TailItem, turn: Turn) -> None:
        self._begun = True
        if not isinstance(item, Batch):
            for piece in self._out.encode(event_messages(self.generation, item)):
                await self._out.write(piece)
            return
        taken = written = 0
        for piece in self._pieces(item):
            if self._silent:
                raise Gone
            await self._out.write(piece)
            taken = piece.messages
            written += len(piece)
            if turn.over(written) and taken < len(item.entries):
                turn.stood = item.entries[taken - 1].position
                break
        self._count(taken, ended=item.ended and taken == len(item.entries))

    def _pieces(self, batch: Batch) -> list[Piece]:
        """What to write: made once for all sockets."""
        pieces = batch.encoded.get(self._out.shared)
        if pieces is None:
            pieces = self._out.encode(event_messages(self.generation, batch))
            batch.encoded[self._out.shared] = pieces
        return pieces

    def _count(self, entries: int, *, ended: bool) -> None:
        self._metrics.events += entries
        if entries:
            self._ended = ended

    def take(self, batch: Batch) -> bool:
        """Write live entries at once; False when the socket is behind, or wants no more of this generation."""
        if self._silent or not self._out.push(self._pieces(batch)):
            return False
        self._count(len(batch.entries), ended=batch.ended)
        return True

    def stop(self) -> None:
        """From now on nothing is written."""
        self._silent = True
        if self.task is not None:
            self.task.cancel()


class LogCut(Exception):
    """A log ended without its terminal event: a mistake of ours."""
