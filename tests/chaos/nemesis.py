"""What goes wrong, in an order drawn from the seed. Three lanes at once: processes, servers and networks, memories."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager

from tests.chaos.books import exist, read_logs
from tests.chaos.fleet import LEASE_S, NODES, WORKERS, Fleet
from tests.chaos.load import Generation, Load
from tests.chaos.memory import Memory
from tests.chaos.networks import Networks
from tests.support.history import TERMINAL, Seen
from tests.support.waiting import wait_until

Act = Callable[[], Awaitable[None]]

_RECENT_S = 10.0
MIN_LIFE_S = 6.0
"""A process is left alone for so long after its start, or its supervisor would give it up."""


class Nemesis:
    """Run :meth:`run` beside the load; afterwards the books say what was done and what it excuses."""

    def __init__(self, fleet: Fleet, load: Load, seed: int) -> None:
        self.fleet = fleet
        self.load = load
        self.rng = random.Random(f"nemesis {seed}")
        self.counts: Counter[str] = Counter()
        self.forks: dict[str, list[list[Seen]]] = {}
        """Histories that a server has forgotten, whole."""
        self.kept: dict[str, list[Seen]] = {}
        """Logs that were read to their ends before they were erased."""
        self.unsure: set[str] = set()
        """Generations whose end somebody saw so shortly before a crash that the end may be forgotten."""
        self.cancels_in_doubt: set[str] = set()
        """Cancels that were answered so shortly before a crash that they may be forgotten."""
        self.disturbed: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        """When a worker could not do its work, on the loop's clock; under the empty name: all of them."""
        self.journal: list[str] = []
        """Act by act, with the seconds since the beginning."""
        self.memory = Memory(self)
        self.networks = Networks(self)
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._killed_at: dict[str, float] = {}
        self._server = asyncio.Lock()
        """Only one fault of a server at a time."""

    async def run(self, seconds: float) -> None:
        """Do it for so long, and leave everything healed."""
        until = self._clock() + seconds
        async with asyncio.TaskGroup() as group:
            group.create_task(self._lane(self._process_acts(), until, 2.2, "processes"))
            group.create_task(self._lane(self._server_acts(), until, 3.0, "servers"))
            group.create_task(self._lane(self.networks.acts(), until, 1.5, "networks"))
            group.create_task(self._lane(self.memory.acts(), until, 2.5, "memories"))
            group.create_task(self._flush(seconds / 4))
        self._heal()

    async def _lane(self, acts: Mapping[str, tuple[int, Act]], until: float, pause_s: float, lane: str) -> None:
        """Act after act, in shuffled rounds, so that each comes as often as its weight says."""
        rng = random.Random(f"{self.rng.random()} {lane}")
        while True:
            deck = [name for name, (weight, _) in acts.items() for _ in range(weight)]
            rng.shuffle(deck)
            for name in deck:
                await asyncio.sleep(rng.uniform(0.3, 1.7) * pause_s)
                if self._clock() > until:
                    return
                self.note(name)
                await acts[name][1]()
                self.counts[name] += 1

    def note(self, what: str) -> None:
        """Write it down."""
        self.journal.append(f"{self._clock() - self._began:7.2f} {what}")

    async def _flush(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        await self.memory.flush()
        self.counts["FLUSHALL"] += 1

    def kinds(self) -> list[Mapping[str, tuple[int, Act]]]:
        """All that can go wrong, by lane."""
        return [self._process_acts(), self._server_acts(), self.networks.acts(), self.memory.acts()]

    @contextmanager
    def disturbance(self, name: str = "") -> Generator[None]:
        """While inside, this process (empty: any) may not hear of a cancel, or not be able to close its call."""
        began = self._clock()
        try:
            yield
        finally:
            self.disturbed[name].append((began, self._clock()))

    def _heal(self) -> None:
        for proxy in [*self.fleet.proxies.values(), self.fleet.providers]:
            proxy.latency_s = 0.0
            proxy.heal()
        for clock in self.fleet.clocks.values():
            clock.set(0)

    # -- processes ---------------------------------------------------------------------------------------------------

    def _process_acts(self) -> dict[str, tuple[int, Act]]:
        return {
            "kill -9 worker": (4, lambda: self._end(WORKERS, signal.SIGKILL)),
            "kill -9 node": (4, lambda: self._end(NODES, signal.SIGKILL)),
            "SIGTERM worker": (2, lambda: self._end(WORKERS, signal.SIGTERM)),
            "SIGTERM node": (2, lambda: self._end(NODES, signal.SIGTERM)),
            "zombie worker": (2, self._zombie),
            "SIGSTOP node": (1, self._stopped_node),
        }

    def _victim(self, names: tuple[str, ...]) -> str:
        ripe = [name for name in names if self._clock() - self._killed_at.get(name, 0.0) > MIN_LIFE_S]
        return self.rng.choice(ripe or list(names))

    async def _end(self, names: tuple[str, ...], number: signal.Signals) -> None:
        name = self._victim(names)
        self.note(f"{number.name} {name}")
        wait = MIN_LIFE_S - (self._clock() - self._killed_at.get(name, -MIN_LIFE_S))
        await asyncio.sleep(max(wait, 0))
        with self.disturbance(name):
            pid = self.fleet.signal(name, number)
            self._killed_at[name] = self._clock()
            if pid is not None:
                self.counts["process kills"] += 1
            await wait_until(lambda: self.fleet.children[name].pid not in (pid, None), 20)

    async def _zombie(self) -> None:
        """Stopped for longer than the lease, while others take over; then it wakes and must find itself fenced."""
        name = self.rng.choice(WORKERS)
        with self.disturbance(name):
            self.fleet.signal(name, signal.SIGSTOP)
            await asyncio.sleep(LEASE_S * self.rng.uniform(1.2, 2.0))
            self.fleet.signal(name, signal.SIGCONT)
            await asyncio.sleep(0.5)

    async def _stopped_node(self) -> None:
        name = self.rng.choice(NODES)
        self.fleet.signal(name, signal.SIGSTOP)
        await asyncio.sleep(self.rng.uniform(0.5, 3.0))
        self.fleet.signal(name, signal.SIGCONT)

    # -- servers -----------------------------------------------------------------------------------------------------

    def _server_acts(self) -> dict[str, tuple[int, Act]]:
        return {
            "kill -9 redis": (3, self._kill_redis),
            "SIGSTOP redis": (2, self._stop_redis),
            "outage beyond the lease": (1, self._long_outage),
            "failover": (2, self._failover),
            "clock jump": (2, self._clock_jump),
        }

    async def _kill_redis(self) -> None:
        async with self._server:
            with self.disturbance():
                self._doubt(2.5)
                self.load.counts["memory losses"] += 1
                self.fleet.primary.kill()
                await asyncio.sleep(self.rng.uniform(0.1, 1.5))
                await self.fleet.primary.start_async()
        self.counts["redis outages"] += 1

    def _doubt(self, seconds: float) -> None:
        """An append-only file that is synced every second may lack the last moments."""
        now = self._clock()
        for generation in self.load.generations:
            if generation.ended_at is not None and now - generation.ended_at < seconds:
                self.unsure.add(generation.id)
            if generation.cancelled_at is not None and now - generation.cancelled_at < seconds:
                self.cancels_in_doubt.add(generation.id)

    async def _stop_redis(self) -> None:
        async with self._server:
            with self.disturbance():
                pid = self.fleet.primary.pid
                if pid is not None:
                    os.kill(pid, signal.SIGSTOP)
                    await asyncio.sleep(self.rng.uniform(0.3, 2.5))
                    os.kill(pid, signal.SIGCONT)
        self.counts["redis outages"] += 1

    async def _long_outage(self) -> None:
        """Nobody reaches Redis for longer than a lease."""
        async with self._server:
            with self.disturbance():
                for proxy in self.fleet.proxies.values():
                    proxy.partition()
                await asyncio.sleep(LEASE_S * self.rng.uniform(1.2, 1.8))
                for proxy in self.fleet.proxies.values():
                    proxy.heal()
        self.counts["redis outages"] += 1

    async def _failover(self) -> None:
        """A replica that lags is promoted: whatever it had not heard of is forgotten."""
        fleet = self.fleet
        async with self._server:
            with self.disturbance():
                fleet.replication.partition()
                await asyncio.sleep(self.rng.uniform(0.1, 2.0))
                for proxy in fleet.proxies.values():
                    proxy.partition()
                await self._keep_forks()
                await fleet.swap()
                self.load.counts["memory losses"] += 1
                await self._mark_gone("failover")
                for proxy in fleet.proxies.values():
                    proxy.heal()
                await fleet.attach_replica()
        self.counts["redis outages"] += 1

    async def _keep_forks(self) -> None:
        client = self.fleet.admin()
        now = self._clock()
        recent = [g.id for g in self._known() if g.ended_at is None or now - g.ended_at < _RECENT_S]
        try:
            logs = await read_logs(client, recent)
        finally:
            await client.aclose()
        for generation, log in logs.items():
            if log:
                self.forks.setdefault(generation, []).append(log)

    def _known(self) -> list[Generation]:
        return [g for g in self.load.generations if g.id and not g.gone and g.id not in self.kept]

    async def _mark_gone(self, why: str) -> None:
        client = self.fleet.admin()
        known = self._known()
        try:
            there = await exist(client, [g.id for g in known])
        finally:
            await client.aclose()
        for generation in known:
            if not there[generation.id]:
                self.forget(generation, why)

    async def keep_finished(self) -> None:
        """Before everything is erased: copy the logs that all their viewers have read to the end."""
        client = self.fleet.admin()
        finished = [g.id for g in self._known() if g.finished]
        try:
            logs = await read_logs(client, finished)
        finally:
            await client.aclose()
        # One that a server's lapse of memory has brought back to life has no end to be kept.
        self.kept.update({name: log for name, log in logs.items() if log and log[-1].kind in TERMINAL})
        for generation in self._known():
            self.forget(generation, "FLUSHALL")

    def forget(self, generation: Generation, why: str) -> None:
        """Its log is no more: nobody can be shown its end."""
        generation.gone = generation.gone or why
        self.counts[f"gone by {why}"] += 1
        self.note(f"g{generation.number} gone by {why}")

    async def _clock_jump(self) -> None:
        clock = self.fleet.clocks[self.fleet.primary]
        clock.set(self.rng.choice([-60, -5, 3, 30, 600]))
        await asyncio.sleep(self.rng.uniform(1, 3))
        clock.set(self.rng.choice([-30, 0, 0]))

    @property
    def server_lock(self) -> asyncio.Lock:
        """Held while a server is away or being replaced."""
        return self._server
