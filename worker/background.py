"""Answers that go on upstream without us: kept beside the log while they are made, stopped when nobody wants them.

docs/adr/0016.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from broker.errors import LogUnavailable, ProviderError
from broker.log import StreamLog
from broker.scripts import Fence, UpstreamAnswer
from worker.providers.base import BackgroundProvider, Provider
from worker.upstream import BASE_S, may_retry

_log = logging.getLogger(__name__)

_AGAIN_S = 0.2
STOP_S = 10.0
"""How long an end may wait for the provider to stop: past that the answer is left to itself."""


class Keep(Protocol):
    """:meth:`Keeper.keep`."""

    async def __call__(self, upstream: str, attempt: int, *, begun: bool) -> None:
        """Keep it."""
        ...


class Keeper:
    """Keeps in Redis, under the fence of one owner, where the answer of a generation is being made."""

    def __init__(self, log: StreamLog, generation: str, fence: Fence) -> None:
        self._log = log
        self._generation = generation
        self._fence = fence
        self._kept: UpstreamAnswer | None = None
        self._ahead = 0

    async def keep(self, upstream: str, attempt: int, *, begun: bool) -> None:
        """Return once a successor would find it.

        ``attempt`` is the writer's present one; where the boundary before this answer is not ``begun``, it comes with
        the next. What a log holds behind an earlier boundary is another answer's.
        """
        self._ahead = 0 if begun else 1
        self._kept = UpstreamAnswer(upstream, attempt + self._ahead)
        await self.again()

    async def reclaimed(self, fence: Fence, attempt: int) -> None:
        """The server forgot our claim, and perhaps this as well; all is said again behind a new boundary."""
        self._fence = fence
        if self._kept is not None:
            # Too late a boundary costs a void, never a token: the answer is then read again from its beginning.
            self._kept = self._kept._replace(attempt=attempt + self._ahead)
        await self.again()

    async def again(self) -> None:
        """Keep the same once more, for the server may have lost it; Redis being away is waited out."""
        while self._kept is not None:
            try:
                await self._log.keep_upstream(self._generation, self._fence, self._kept)
            except LogUnavailable:
                await asyncio.sleep(_AGAIN_S)
            else:
                return


async def abandon(provider: Provider | None, upstream: str, generation: str) -> None:
    """Stop an answer upstream, as well as that can be done within :data:`STOP_S`."""
    if not isinstance(provider, BackgroundProvider):
        return None
    try:
        async with asyncio.timeout(STOP_S):
            while True:
                try:
                    return await provider.abandon(upstream)
                except ProviderError as error:
                    if not may_retry(error):
                        raise
                    await asyncio.sleep(error.retry_after_s or BASE_S)
    except (ProviderError, TimeoutError) as error:
        _log.warning("%s: %s goes on upstream and could not be stopped: %s", generation, upstream, error)
