"""What goes wrong between processes: cuts, lost replies, latency, partitions."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from tests.chaos.fleet import LEASE_S, NODES, WORKERS

if TYPE_CHECKING:
    from tests.chaos.nemesis import Nemesis


class Networks:
    """Acts on the proxies, and on the connections at the server."""

    def __init__(self, nemesis: Nemesis) -> None:
        self._nemesis = nemesis
        self._rng = random.Random(nemesis.rng.random())

    def acts(self) -> dict[str, tuple[int, Callable[[], Awaitable[None]]]]:
        """By name, with weights."""
        return {
            "drop replies": (4, self._drop_replies),
            "CLIENT KILL": (2, self._client_kill),
            "cut one process from redis": (2, self._cut_one),
            "latency": (2, self._latency),
            "partition of a worker": (2, self._partition),
            "cut the provider": (1, self._cut_provider),
        }

    async def _drop_replies(self) -> None:
        self._nemesis.fleet.proxies[self._rng.choice([*NODES, *WORKERS, *WORKERS])].drop_replies()

    async def _client_kill(self) -> None:
        async with self._nemesis.server_lock:
            client = self._nemesis.fleet.admin()
            try:
                for kind in ("normal", "pubsub"):
                    await client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
            finally:
                await client.aclose()

    async def _cut_one(self) -> None:
        self._nemesis.fleet.proxies[self._rng.choice([*NODES, *WORKERS])].cut()

    async def _latency(self) -> None:
        name = self._rng.choice([*NODES, *WORKERS])
        proxy = self._nemesis.fleet.proxies[name]
        with self._nemesis.disturbance(name):
            proxy.latency_s = self._rng.uniform(0.02, 0.3)
            await asyncio.sleep(self._rng.uniform(1, 3))
            proxy.latency_s = 0.0

    async def _partition(self) -> None:
        """One worker alone is cut off, for longer than its lease: others take over, and it comes back fenced."""
        name = self._rng.choice(WORKERS)
        proxy = self._nemesis.fleet.proxies[name]
        with self._nemesis.disturbance(name):
            proxy.partition()
            await asyncio.sleep(LEASE_S * self._rng.uniform(0.5, 2.0))
            proxy.heal()

    async def _cut_provider(self) -> None:
        self._nemesis.fleet.providers.cut()
