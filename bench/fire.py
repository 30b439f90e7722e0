"""``python -m bench.fire``: the latencies of failure, on a machine that has nothing else to do.

Every round's logs and viewers go through the same checker as the chaos suite: a round with an anomaly is void.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bench.stats import percentile, row
from bench.stuck import stuck_readers
from broker.client import Broker
from broker.events import Started, event_to_json
from broker.request import GenerationRequest
from broker.settings import Settings
from broker.tail_items import Batch
from rejoinder.embedded import EmbeddedServer
from tests.chaos.provider import ChaosProvider, Script, text_of
from tests.support.history import Facts, Seen, Viewer, check
from tests.support.waiting import wait_until

LEASE_S = 2.0
GENERATIONS = 20
RESULTS = Path(__file__).parent / "results"


@dataclass
class Stage:
    """A server, a provider, a broker to watch through, and workers as processes."""

    server: EmbeddedServer
    provider: ChaosProvider
    broker: Broker
    config: Path
    viewers: list[Viewer] = field(default_factory=list[Viewer])
    texts: dict[str, str] = field(default_factory=dict[str, str])
    keys: dict[str, str] = field(default_factory=dict[str, str])
    seconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    """When the viewers of each generation saw a beginning, on the loop's clock."""

    def worker(self, **settings: str) -> subprocess.Popen[bytes]:
        """Start one; ``settings`` without their prefix."""
        own = {"REDIS_URL": self.server.url, "LEASE_S": str(LEASE_S), "CONFIG": str(self.config), **settings}
        env = {**os.environ, **{f"REJOINDER_{name}": value for name, value in own.items()}}
        return subprocess.Popen([sys.executable, "-m", "rejoinder", "worker"], env=env, stderr=subprocess.DEVNULL)

    async def submit(self, number: int, tokens: int = 300, rate: float = 30.0) -> asyncio.Task[None]:
        """One generation and its viewer."""
        script = Script(f"k{number}", tokens=tokens, rate=rate)
        wanted = GenerationRequest(
            model="vllm/m", input=msgspec.json.encode(script).decode(), on_worker_loss="continue"
        )
        generation = (await self.broker.submit(wanted)).record.id
        self.texts[generation], self.keys[script.key] = text_of(script), generation
        self.seconds[generation] = []
        viewer = Viewer(f"v{number}", generation)
        self.viewers.append(viewer)
        return asyncio.get_running_loop().create_task(self._watch(viewer))

    async def _watch(self, viewer: Viewer) -> None:
        clock = asyncio.get_running_loop().time
        async with aclosing(self.broker.tail(viewer.generation, replay="exact")) as items:
            async for item in items:
                for entry in item.entries if isinstance(item, Batch) else ():
                    viewer.seen.append(Seen(str(entry.position), json.loads(event_to_json(entry.event))))
                    if isinstance(entry.event, Started):
                        self.seconds[viewer.generation].append(clock())
        viewer.clean_ends += 1

    def judge(self) -> None:
        """Raises ``RuntimeError`` for a round with an anomaly."""
        anomalies = check(self.viewers, None, Facts(texts=self.texts))
        if anomalies:
            raise RuntimeError(f"a round with anomalies is void: {anomalies[:3]}")


@asynccontextmanager
async def stage() -> AsyncGenerator[Stage]:
    """A fresh one."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(EmbeddedServer())
        provider = await stack.enter_async_context(ChaosProvider())
        config = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "config.toml"
        config.write_text(f'[providers.vllm]\nbase_url = "http://127.0.0.1:{provider.port}/v1"\ncan_continue = true\n')
        broker = await stack.enter_async_context(Broker(Settings(redis_url=server.url)))
        yield Stage(server, provider, broker, config)


async def change_of_owner(number: signal.Signals, **settings: str) -> tuple[list[float], Stage]:
    """Milliseconds from a signal to the first worker until the second one's beginnings are seen."""
    clock = asyncio.get_running_loop().time
    async with stage() as here:
        first = here.worker(**settings)
        watching = [await here.submit(n) for n in range(GENERATIONS)]
        await wait_until(lambda: all(here.seconds.values()) and all(len(v.seen) > 5 for v in here.viewers), 30)
        second = here.worker(**settings)
        # The successor's own connections must have been whole for a lease before it may judge.
        await asyncio.sleep(LEASE_S + 2.0)
        sent = clock()
        first.send_signal(number)
        await wait_until(lambda: all(len(times) > 1 for times in here.seconds.values()), 30)
        took = [(times[1] - sent) * 1000 for times in here.seconds.values()]
        if number is signal.SIGSTOP:
            first.send_signal(signal.SIGCONT)
            took = await _closed_after(here, clock())
        await asyncio.gather(*watching)
        here.judge()
        for process in (first, second):
            process.terminate()
            await asyncio.to_thread(process.wait)
    return took, here


async def _closed_after(here: Stage, woken: float) -> list[float]:
    """Milliseconds from a zombie's waking until its provider calls are closed."""
    zombies = [call for call in here.provider.calls if call.index == 0]
    await wait_until(lambda: all(call.closed_at is not None for call in zombies), 30)
    return [max((call.closed_at or 0.0) - woken, 0.0) * 1000 for call in zombies]


async def main(rounds: int) -> None:
    """Run everything, print the table, keep the figures."""
    taken: list[float] = []
    handed: list[float] = []
    closed: list[float] = []
    for _ in range(rounds):
        taken += (await change_of_owner(signal.SIGKILL))[0]
        handed += (await change_of_owner(signal.SIGTERM, WORKER_DRAIN_S="0"))[0]
        closed += (await change_of_owner(signal.SIGSTOP))[0]
    cost = await stuck_readers()
    lines = [
        "| what | n | p50 | p99 | max | goal |",
        "|---|---|---|---|---|---|",
        row(f"kill -9 → successor's start, lease {LEASE_S:g} s (ms)", taken, f"p99 ≤ {LEASE_S * 1000 + 500:.0f}"),
        row("SIGTERM, WORKER_DRAIN_S=0 → successor's start (ms)", handed, "≤ 1000"),
        row("zombie wakes → its provider's socket closed (ms)", closed, "≤ 1000"),
        row("a stuck reader of 100,000 events: node's memory (KiB)", cost, "≤ 1024"),
    ]
    print("\n".join(lines))
    RESULTS.mkdir(exist_ok=True)
    named = {"takeover_ms": taken, "hand_over_ms": handed, "zombie_closed_ms": closed, "stuck_reader_kib": cost}
    figures = {
        name: {"n": len(values), "p50": percentile(values, 0.5), "p99": percentile(values, 0.99), "max": max(values)}
        for name, values in named.items()
    }
    (RESULTS / "fire.json").write_text(json.dumps(figures, indent=2) + "\n")
    (RESULTS / "fire.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
