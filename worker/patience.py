"""What a writer does while Redis can't take what it says: try again, for as long as it takes; but full is full."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from broker.errors import LogFull, LogUnavailable

_log = logging.getLogger(__name__)

FULL_S = 5.0
"""A Redis without memory for so long will not take the answer: the generation fails while its viewers still look."""
_BACK_OFF_S = (0.02, 0.05, 0.1, 0.2, 0.4)


class Patience:
    """Retries steps; ``meanwhile`` is done between the tries while Redis is full."""

    def __init__(self, generation: str, meanwhile: Callable[[], Awaitable[None]]) -> None:
        self._generation = generation
        self._meanwhile = meanwhile
        self._clock = asyncio.get_running_loop().time
        self._full_since: float | None = None
        self.full: asyncio.Future[LogFull] = asyncio.get_running_loop().create_future()
        """Redis has had no memory left for :data:`FULL_S`."""

    def forget(self) -> None:
        """Begin anew: there is less to say now."""
        self.full = asyncio.get_running_loop().create_future()
        self._full_since = None

    async def retried(self, step: Callable[[], Awaitable[None]]) -> None:
        """Do it, through any trouble with Redis; returns undone when Redis has had no memory for too long."""
        tries = 0
        while True:
            try:
                await step()
            except LogUnavailable as error:
                if tries == 0:
                    _log.warning("%s: append held back: %s", self._generation, error)
                if isinstance(error, LogFull) and await self._is_full(error):
                    return
            else:
                self._full_since = None
                return
            await asyncio.sleep(_BACK_OFF_S[min(tries, len(_BACK_OFF_S) - 1)])
            tries += 1

    async def _is_full(self, error: LogFull) -> bool:
        now = self._clock()
        self._full_since = now if self._full_since is None else self._full_since
        if now - self._full_since >= FULL_S and not self.full.done():
            self.full.set_result(error)
        with contextlib.suppress(LogUnavailable):
            await self._meanwhile()
        return self.full.done()
