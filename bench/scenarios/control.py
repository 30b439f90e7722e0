"""What workers do: submit → start, cancel, takeover, and the latencies of failure. Ours alone, or beside stock arq."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import cancel, fire, start, takeover
from bench.measure import Row
from bench.scale import Scale
from bench.stats import percentile
from bench.stuck import stuck_readers
from broker.client import Broker
from broker.settings import Settings
from rejoinder.dev import DevStack
from rejoinder.embedded import EmbeddedServer
from worker.main import serve

SHARES = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}


def rows_of(
    name: str, values: Sequence[float], system: str = "ours", shares: Sequence[str] = tuple(SHARES)
) -> list[Row]:
    """One row per share, the values with the first."""
    return [
        Row(f"{name}.{share}", system, percentile(values, SHARES[share]), raw={} if index else {"ms": list(values)})
        for index, share in enumerate(shares)
    ]


async def starts(scale: Scale) -> list[Row]:
    """Submit -> start, in a worker of this process, and in stock arq's."""
    async with EmbeddedServer() as server:
        settings = Settings(redis_url=server.url, log_level="warning")
        stop = asyncio.Event()
        work = asyncio.get_running_loop().create_task(serve(settings, environ={}, stop=stop))
        async with Broker(settings) as broker:
            ours, stock = await start.measure(broker, server.port, scale.repeats(40))
        stop.set()
        await work
    return [*rows_of("start", ours), *rows_of("start", stock, "naive")]


async def cancels(scale: Scale) -> list[Row]:
    """Cancel -> hang-up, through two nodes and a worker. Raises ``RuntimeError``: a second cancel was not a 200."""
    upstream = cancel.Upstream()
    await upstream.open()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "rejoinder.toml"
        config.write_text(f'[providers.local]\nbase_url = "http://127.0.0.1:{upstream.port}/v1"\n')
        async with DevStack(port=0, isolated=True, env={"REJOINDER_CONFIG": str(config)}) as stack:
            took, again = await cancel.measure(stack.url, "local/m", upstream, scale.repeats(50))
    await upstream.close()
    if again.count(200) != len(again):
        raise RuntimeError(f"second cancels were answered {set(again)}")
    return rows_of("cancel", took)


async def takeovers(scale: Scale) -> list[Row]:
    """Kill -9 -> the successor's start."""
    async with EmbeddedServer() as server, Broker(Settings(redis_url=server.url)) as broker:
        took = await takeover.measure(broker, server.url, 1 if scale.smoke else 2)
    return rows_of("takeover", took, shares=("p50_ms", "max_ms"))


async def failures(scale: Scale) -> list[Row]:
    """The scenarios of :mod:`bench.fire`, one round."""
    killed, _ = await fire.change_of_owner(signal.SIGKILL)
    rows = rows_of("kill", killed, shares=("p50_ms", "p99_ms"))
    if scale.smoke:
        return rows
    handed, _ = await fire.change_of_owner(signal.SIGTERM, WORKER_DRAIN_S="0")
    woken, _ = await fire.change_of_owner(signal.SIGSTOP)
    return [
        *rows,
        *rows_of("hand_over", handed, shares=("p50_ms", "p99_ms")),
        *rows_of("zombie", woken, shares=("p50_ms", "p99_ms")),
    ]


async def stuck(scale: Scale) -> list[Row]:
    """Memory of a node for each reader that stops reading, in KiB."""
    costs = await stuck_readers(*((5_000, 5, 1) if scale.smoke else ()))
    return [Row("stuck.kib", "ours", max(costs), raw={"kib": costs})]
