"""``python -m bench``: the main job's latencies, as a table and as JSON in bench/results/."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

from bench import cancel, start, takeover
from bench.stats import percentile, row
from broker.client import Broker
from broker.settings import Settings
from rejoinder.dev import DevStack
from rejoinder.embedded import EmbeddedServer
from worker.main import serve

RESULTS = Path(__file__).parent / "results"


async def starts(rounds: int) -> tuple[list[float], list[float]]:
    """Submit -> start, in a worker of this process."""
    async with EmbeddedServer() as server:
        settings = Settings(redis_url=server.url, log_level="warning")
        stop = asyncio.Event()
        work = asyncio.get_running_loop().create_task(serve(settings, environ={}, stop=stop))
        async with Broker(settings) as broker:
            measured = await start.measure(broker, server.port, rounds)
        stop.set()
        await work
    return measured


async def cancels(rounds: int) -> tuple[list[float], list[int]]:
    """Cancel -> hang-up, through two nodes and a worker."""
    upstream = cancel.Upstream()
    await upstream.open()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "rejoinder.toml"
        config.write_text(f'[providers.local]\nbase_url = "http://127.0.0.1:{upstream.port}/v1"\n')
        async with DevStack(port=0, isolated=True, env={"REJOINDER_CONFIG": str(config)}) as stack:
            measured = await cancel.measure(stack.url, "local/m", upstream, rounds)
    await upstream.close()
    return measured


async def takeovers(rounds: int) -> list[float]:
    """Kill -9 -> the successor's start."""
    async with EmbeddedServer() as server, Broker(Settings(redis_url=server.url)) as broker:
        return await takeover.measure(broker, server.url, rounds)


async def main(scale: int) -> None:
    """Run everything, print the table, keep the figures."""
    ours, stock = await starts(40 * scale)
    closed, again = await cancels(50 * scale)
    taken = await takeovers(2 * scale)
    lines = [
        "| what (ms) | n | p50 | p99 | max | goal |",
        "|---|---|---|---|---|---|",
        row("submit → start, Rejoinder", ours, "≤ 5 / ≤ 20"),
        row("submit → start, stock arq", stock, "-"),
        row("cancel → provider socket closed", closed, "p99 ≤ 200"),
        row(f"kill -9 → second worker started, lease {takeover.LEASE_S} s", taken, "max ≤ 4000"),
    ]
    print("\n".join(lines))
    print(f"\nsecond cancels answered 200: {again.count(200)} of {len(again)}")
    RESULTS.mkdir(exist_ok=True)
    figures = {
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "system": platform.system()},
        "ms": {
            name: {"n": len(values), "p50": percentile(values, 0.5), "p99": percentile(values, 0.99)}
            for name, values in {"start": ours, "start_stock_arq": stock, "cancel": closed, "takeover": taken}.items()
        },
    }
    (RESULTS / "main-job.json").write_text(json.dumps(figures, indent=2) + "\n")
    (RESULTS / "main-job.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1))
