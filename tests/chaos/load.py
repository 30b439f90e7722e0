"""The clients: they submit, watch, hang up, come back, cancel and delete, and only record what they see."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx2
import msgspec

from tests.chaos.fleet import KEYS, Fleet
from tests.chaos.provider import Script, text_of
from tests.chaos.viewer import Plan, watch
from tests.support.history import Viewer
from tests.support.http_viewer import ended

TENANTS = list(KEYS)
SWEEP = 3000
"""Viewers hang up at every one of the first so many bytes of a response."""
GIVE_UP_S = 60.0
"""Behind the last fault, a generation that has not ended within this is stuck."""
_ASK_S = 8.0
_ABSENT = 6
_PROVIDER_FAULTS = ("429", "500", "503", "silence", "reset", "truncate", "cut", "stall", "error")


@dataclass
class Generation:
    """One generation, and what its clients did to it; times on the loop's clock."""

    number: int
    tenant: str
    request: dict[str, Any]
    script: Script
    viewers: list[Viewer] = field(default_factory=list[Viewer])
    id: str = ""
    cancelled_at: float | None = None
    """When a cancel was answered, or somebody saw a cancelled end."""
    ended_at: float | None = None
    """When the first viewer saw the end."""
    gone: str = ""
    """Why its log is no more."""

    losses_before: int = 0
    """How many memories servers had lost when it was submitted."""

    @property
    def finished(self) -> bool:
        """Whether every viewer has the end."""
        return bool(self.viewers) and all(ended(viewer) for viewer in self.viewers)

    @property
    def headers(self) -> dict[str, str]:
        """The credentials of its tenant."""
        return {"authorization": f"Bearer {KEYS[self.tenant]}"}


class Load:
    """``done`` is set when no new generation is to be made; those that run go on to their ends."""

    def __init__(self, fleet: Fleet, seed: int) -> None:
        self.fleet = fleet
        self.seed = seed
        self.generations: list[Generation] = []
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        """What no answer may be: a 500, a replay that made a second generation, another tenant's log."""
        self.done = asyncio.Event()
        self.calm_since: float | None = None
        """Since when no fault comes any more, on the loop's clock."""
        self._offsets = itertools.cycle(random.Random(seed).sample(range(1, SWEEP + 1), SWEEP))
        self.swept: set[int] = set()
        self._http = httpx2.AsyncClient(timeout=_ASK_S, limits=httpx2.Limits(max_connections=60))

    async def run(self, concurrency: int) -> None:
        """Keep so many generations going until :attr:`done`; returns when all have ended or were given up."""
        async with self._http, asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(self._client())

    async def _client(self) -> None:
        while not self.done.is_set():
            generation = self._plan(len(self.generations))
            self.generations.append(generation)
            await self._live(generation)

    def _plan(self, number: int) -> Generation:
        rng = random.Random(f"{self.seed} generation {number}")
        script = Script(
            key=f"g{number}",
            tokens=rng.choice([3, 20, 40, 60, 120, 200]),
            rate=rng.choice([20.0, 40.0, 80.0]),
            ttft_s=rng.choice([0.0, 0.0, 0.2, 1.0]),
            faults=[self._fault(rng) if rng.random() < 0.25 else "" for _ in range(4)],
        )
        request: dict[str, Any] = {
            "model": rng.choice(["vllm/m", "vllm/m", "plain/m"]),
            "input": msgspec.json.encode(script).decode(),
            "on_worker_loss": rng.choice(["restart", "continue", "continue", "fail"] if number % 5 else ["fail"]),
            "on_provider_loss": rng.choice(["restart", "continue", "fail"]),
            "delivery": {"batch": rng.choice(["time", "none", "word", "line"]), "window_ms": rng.choice([0, 20, 100])},
        }
        if rng.random() < 0.05:
            request["deadline_s"] = rng.choice([1, 2])
        if rng.random() < 0.1:
            request["on_disconnect"] = {"cancel_after_s": 20}
        return Generation(number, rng.choice(TENANTS), request, script)

    def _fault(self, rng: random.Random) -> str:
        fault = rng.choice(_PROVIDER_FAULTS)
        self.counts[f"provider {fault}"] += 1
        return f"{fault}@{rng.randrange(1, 30)}" if fault in ("reset", "truncate", "cut", "stall", "error") else fault

    async def _live(self, generation: Generation) -> None:
        rng = random.Random(f"{self.seed} clients {generation.number}")
        await self._submit(generation, twice=rng.random() < 0.1)
        if not generation.id:
            return
        self.counts["generations"] += 1
        generation.viewers = [
            Viewer(f"g{generation.number}.{n}", generation.id) for n in range(rng.choice([2, 3, 4, 5]))
        ]
        async with asyncio.TaskGroup() as group:
            for viewer in generation.viewers:
                group.create_task(self._follow(generation, viewer, random.Random(f"{self.seed} {viewer.name}")))
            if rng.random() < 0.15:
                group.create_task(self._cancel(generation, rng.choice([0, 0, 0.05, 0.5, 1.5, 4])))
            elif rng.random() < 0.04:
                group.create_task(self._delete(generation, rng.choice([0, 0.5, 2])))
            elif rng.random() < 0.05:
                group.create_task(self._spy(generation))

    async def _submit(self, generation: Generation, *, twice: bool) -> None:
        before = self.counts["memory losses"]
        ids = await asyncio.gather(*(self._post(generation) for _ in range(2 if twice else 1)))
        generation.losses_before = before
        known = {found for found in ids if found}
        self.counts["duplicate submits"] += twice
        # A server that lost its memory between the two knows of no first one.
        if len(known) > 1 and self.counts["memory losses"] == before:
            self.problems.append(f"g{generation.number}: one key, two generations: {known}")
        if known:
            generation.id = known.pop()

    async def _post(self, generation: Generation) -> str:
        headers = {**generation.headers, "idempotency-key": f"key-{generation.number}"}
        for _ in range(40):
            response = await self._ask("POST", "", generation, headers=headers, json=generation.request)
            if response is not None and response.status_code == 202:
                return response.json()["id"]
            await asyncio.sleep(0.25)
        self.problems.append(f"g{generation.number}: could not be submitted")
        return ""

    async def _ask(
        self,
        method: str,
        path: str,
        generation: Generation,
        *,
        headers: dict[str, str] | None = None,
        json: dict[str, Any] | None = None,
    ) -> httpx2.Response | None:
        url = f"{self.fleet.front.url}/v1/generations{path}"
        try:
            response = await self._http.request(method, url, headers=headers or generation.headers, json=json)
        except httpx2.HTTPError:
            self.counts["requests cut"] += 1
            return None
        self.counts[f"HTTP {response.status_code}"] += 1
        if response.status_code in (500, 501):
            self.problems.append(f"{method} {path or '/'}: {response.status_code} {response.text[:200]}")
        return response

    async def _cancel(self, generation: Generation, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        self.counts["cancels"] += 1
        for _ in range(40):
            response = await self._ask("POST", f"/{generation.id}/cancel", generation)
            if response is not None and response.status_code in (200, 202, 404):
                if response.status_code != 404 and generation.cancelled_at is None:
                    generation.cancelled_at = asyncio.get_running_loop().time()
                return
            await asyncio.sleep(0.25)

    async def _delete(self, generation: Generation, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        self.counts["deletes"] += 1
        generation.gone = generation.gone or "deleted"
        for _ in range(40):
            response = await self._ask("DELETE", f"/{generation.id}", generation)
            if response is not None and response.status_code in (204, 404):
                return
            await asyncio.sleep(0.25)

    async def _spy(self, generation: Generation) -> None:
        """Another tenant must not even learn that it exists."""
        other = next(tenant for tenant in TENANTS if tenant != generation.tenant)
        headers = {"authorization": f"Bearer {KEYS[other]}"}
        for path in (f"/{generation.id}", f"/{generation.id}/events"):
            response = await self._ask("GET", path, generation, headers=headers)
            if response is not None and response.status_code == 200:
                self.problems.append(f"g{generation.number}: shown to another tenant")
        self.counts["spies"] += 1

    async def _follow(self, generation: Generation, viewer: Viewer, rng: random.Random) -> None:
        clock = asyncio.get_running_loop().time
        absent = 0
        # The first connection is none that came back.
        self.counts["reconnects"] -= 1
        while not ended(viewer):
            result = await watch(self.fleet.front.port, viewer, self._view(rng), key=KEYS[generation.tenant])
            self.counts["reconnects"] += 1
            if result.cut and result.bytes <= SWEEP:
                self.swept.add(result.bytes)
            if result.status in (404, 410):
                absent += 1
                if self._is_gone(generation, absent):
                    return
                await asyncio.sleep(0.5)
            elif result.status != 200:
                await asyncio.sleep(rng.uniform(0.05, 0.3))
            if self.calm_since is not None and clock() - self.calm_since > GIVE_UP_S:
                viewer.gave_up = True
                return
        generation.ended_at = generation.ended_at or clock()
        if viewer.seen[-1].kind == "generation.cancelled" and generation.cancelled_at is None:
            generation.cancelled_at = clock()

    def _is_gone(self, generation: Generation, absent: int) -> bool:
        if absent > _ABSENT and self.counts["memory losses"] > generation.losses_before:
            generation.gone = generation.gone or "lost with a server right behind its submit"
        return bool(generation.gone)

    def _view(self, rng: random.Random) -> Plan:
        ndjson, exact = rng.random() < 0.2, rng.random() < 0.3
        if rng.random() < 0.02:
            self.counts["stalled readers"] += 1
            return Plan(stall_at=rng.randrange(1, 4000), stall_s=rng.uniform(0.5, 8), ndjson=ndjson, exact=exact)
        cut_at = next(self._offsets) if rng.random() < 0.85 else None
        return Plan(cut_at=cut_at, reset=rng.random() < 0.5, ndjson=ndjson, exact=exact)

    @property
    def texts(self) -> dict[str, str]:
        """What each generation's provider says."""
        return {generation.id: text_of(generation.script) for generation in self.generations if generation.id}
