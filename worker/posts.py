"""The way of most appends: posted on the process's lane, acknowledged in a callback, without a wake of any task.

It is open while the writer's own task has nothing to do but wait. Whatever an append answers but "ok" closes it: the
writer's task then says the same again and hears the same, and has all the time it needs to deal with it. docs/adr/0013.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from broker.log import StreamLog
from broker.packed import AppendHead, AppendReply, Fence, pack_append, read_append
from worker.held import Held, Portion

Taken = Callable[[Portion, AppendReply, bool], None]
"""An append went through: what it carried, the reply, and whether it renewed the lease."""


class Posts:
    """One append at a time: what comes while one is under way goes with the next."""

    def __init__(
        self,
        log: StreamLog,
        generation: str,
        held: Held,
        *,
        lease_ms: Callable[[], int | None],
        taken: Taken,
        trouble: Callable[[], None],
    ) -> None:
        self._log = log
        self._generation = generation
        self._held = held
        self._lease_ms = lease_ms
        self._taken = taken
        self._trouble = trouble
        self._head: AppendHead | None = None
        self._open = False
        self._flight: Portion | None = None
        self._renews = False
        self._landing: asyncio.Future[None] | None = None

    @property
    def under_way(self) -> bool:
        """An append has not been answered yet."""
        return self._flight is not None

    def own(self, fence: Fence) -> None:
        """From now on, write as this owner."""
        self._head = self._log.post_head(self._generation, fence)

    def open(self) -> None:
        """Let appends go this way."""
        self._open = True
        self.go()

    def close(self) -> None:
        """Let none go any more; one may still be under way."""
        self._open = False

    def go(self) -> None:
        """Post what waits, if the way is open and free."""
        if not self._open or self._flight is not None or self._held.all_written or self._head is None:
            return
        portion = self._flight = self._held.portion()
        lease_ms = self._lease_ms()
        self._renews = lease_ms is not None
        first, started, first_token = portion.first, portion.started, portion.first_token
        self._log.post(
            pack_append(
                self._head, first, portion.entries, lease_ms=lease_ms, started=started, first_token=first_token
            ),
            self._heard,
        )

    def _heard(self, answer: Any) -> None:
        reply = read_append(answer)
        portion, self._flight = self._flight, None
        if portion is not None and reply is not None and reply.kind == "ok":
            self._taken(portion, reply, self._renews)
            self.go()
        else:
            self._open = False
            self._trouble()
        if self._landing is not None and not self._landing.done():
            self._landing.set_result(None)

    async def landed(self) -> None:
        """Close the way, and return when nothing is under way."""
        self._open = False
        while self._flight is not None:
            self._landing = asyncio.get_running_loop().create_future()
            await self._landing
