"""Servers that forget on purpose: each shape of design.md decision 2, for one generation at a time, and FLUSHALL."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from broker.errors import LogUnavailable
from broker.redis import unavailable
from tests.chaos import books
from tests.chaos.load import Generation
from tests.support.history import Seen
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from tests.chaos.nemesis import Nemesis

_PATIENCE_S = 6.0
_SOME_ENTRIES = 4


class Memory:
    """Acts on single generations past the proxies, as a promoted replica would have them."""

    def __init__(self, nemesis: Nemesis) -> None:
        self._nemesis = nemesis
        self._rng = random.Random(nemesis.rng.random())

    def acts(self) -> dict[str, tuple[int, Callable[[], Awaitable[None]]]]:
        """By name, with weights."""
        return {
            "replica behind": (3, lambda: self._rewind("running", "running")),
            "replica without the claim": (3, self._unclaim),
            "replica without the end": (3, lambda: self._rewind("running", "ended")),
            "replica without the log": (1, self._drop),
        }

    def _alive(self) -> list[Generation]:
        return [g for g in self._nemesis.load.generations[-40:] if g.id and not g.gone and g.ended_at is None]

    async def _unclaim(self) -> None:
        """A generation that runs is put back to where it waited: its writer finds another history than its own."""
        async with self._client() as client, self._nemesis.server_lock:
            for generation in self._alive():
                status, _, seq = await books.status(client, generation.id)
                first = await books.first_entry(client, generation.id)
                if status == "running" and seq > _SOME_ENTRIES and first is not None:
                    self._forgotten(generation, await books.back_to_queue(client, generation.id, first))
                    return
        self._nemesis.counts["no chance: unclaim"] += 1

    async def _rewind(self, before: str, after: str) -> None:
        """Remember one generation as ``before``, and put it back when it is ``after``."""
        async with self._client() as client:
            with contextlib.suppress(AssertionError):
                await wait_until(lambda: self._try_rewind(client, before, after), _PATIENCE_S)
                return
        self._nemesis.counts[f"no chance: {before} to {after}"] += 1

    async def _try_rewind(self, client: Any, before: str, after: str) -> bool:
        candidates = self._alive()
        self._rng.shuffle(candidates)
        for generation in candidates[:5]:
            status, owner, seq = await books.status(client, generation.id)
            if status != before:
                continue
            moment = await books.remember(client, generation.id)
            if await self._reaches(client, generation, after, owner, seq):
                return await self._go_back(client, generation, moment)
        return False

    async def _reaches(self, client: Any, generation: Generation, after: str, owner: str, seq: int) -> bool:
        """Whether it comes to be ``after`` soon: ended, or running on with the same owner."""
        found: list[bool] = []

        async def decided() -> bool:
            status, now, at = await books.status(client, generation.id)
            if status not in ("queued", "running"):
                found.append(after == "ended" and bool(status))
            elif after == "running" and status == "running" and at >= seq + _SOME_ENTRIES and now:
                found.append(owner in ("", now))
            return bool(found)

        with contextlib.suppress(AssertionError):
            await wait_until(decided, 2.5)
        return any(found)

    async def _go_back(self, client: Any, generation: Generation, moment: dict[str, tuple[bytes, int]]) -> bool:
        async with self._nemesis.server_lock:
            # A FLUSHALL in between has erased what the moment belonged to: no replica remembers it alone.
            if generation.gone or generation.id in self._nemesis.kept:
                return False
            forgotten = await books.go_back(client, generation.id, moment)
        self._forgotten(generation, forgotten)
        return True

    def _forgotten(self, generation: Generation, log: list[Seen]) -> None:
        self._nemesis.forks.setdefault(generation.id, []).append(log)
        self._nemesis.counts["memories rewound"] += 1
        self._nemesis.note(f"g{generation.number} put back from {len(log)} entries")

    async def _drop(self) -> None:
        """One log is lost without a word: its writer stops, its viewers are told."""
        async with self._client() as client, self._nemesis.server_lock:
            for generation in self._alive()[-1:]:
                self._nemesis.forget(generation, "loss")
                await client.delete(*books.names_of(generation.id))

    async def flush(self) -> None:
        """Everything is lost."""
        async with self._client() as client, self._nemesis.server_lock:
            self._nemesis.load.counts["memory losses"] += 1
            await self._nemesis.keep_finished()
            await client.flushall()

    @asynccontextmanager
    async def _client(self) -> AsyncGenerator[Any]:
        """Past the proxies; a server that is away at this moment, by another fault, makes the act fall through."""
        client = self._nemesis.fleet.admin()
        try:
            with unavailable():
                yield client
        except LogUnavailable:
            self._nemesis.counts["acts that found no server"] += 1
        finally:
            await client.aclose()
