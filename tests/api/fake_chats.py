"""The chats, in memory: see ``broker.chats.Chats``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from broker.chats import Run


class FakeChats:
    """``reach`` raises while Redis is away."""

    def __init__(self, reach: Callable[[], Awaitable[None]]) -> None:
        self._reach = reach
        self.generations: dict[tuple[str, str], str] = {}
        self.settled: set[str] = set()
        self.lives: list[int] = []

    async def begin(self, tenant: str, chat: str, generation: str, life_ms: int) -> None:
        """From now on the chat stands for this generation."""
        await self._reach()
        self.lives.append(life_ms)
        self.generations[tenant, chat] = max(generation, self.generations.get((tenant, chat), ""))

    async def current(self, tenant: str, chat: str) -> Run | None:
        """What it stands for."""
        await self._reach()
        generation = self.generations.get((tenant, chat))
        return Run(generation, generation in self.settled) if generation else None

    async def settle(self, generation: str) -> None:
        """Nobody waits for this one's end any more."""
        await self._reach()
        self.settled.add(generation)
