"""What a worker and a node take while nothing is asked of them, and what they ask of Redis."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from typing import Any, cast

import redis.asyncio as aioredis

from bench.child import start
from bench.curves.fleet import environment
from bench.machine import cpu_ns
from bench.measure import Row
from bench.ours import until_ready
from bench.queue_stage import Void
from bench.redis_meter import OWN_NAME
from rejoinder.embedded import EmbeddedServer
from rejoinder.ports import LOOPBACK, free_port

SECONDS = 5.0
REST_S = 2.0
"""From being ready to being idle."""
READY_S = 30.0
LOOK_S = 0.05


def commands(info: dict[str, dict[str, Any]]) -> dict[str, int]:
    """How often each command was called, of ``INFO commandstats``; our own ``INFO`` and ``CLIENT`` left out."""
    calls = {name.removeprefix("cmdstat_"): int(stat["calls"]) for name, stat in info.items()}
    return {name: count for name, count in calls.items() if name != "info" and not name.startswith("client")}


async def idle(seconds: float = SECONDS) -> list[Row]:
    """Shares of a core, and commands a second by name. Raises :class:`bench.queue_stage.Void`: nobody works."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(EmbeddedServer())
        meter: Any = cast("Any", aioredis.Redis).from_url(server.url, client_name=OWN_NAME, max_connections=1)
        stack.push_async_callback(meter.aclose)
        port, env = free_port(), environment(server.url)
        pids: dict[str, int] = {}
        for name, more in (("worker", ()), ("api", ("--port", str(port)))):
            command = (sys.executable, "-m", "rejoinder", name, *more)
            pids[name] = (await stack.enter_async_context(start(name, command, env=env, serves=True))).pid
        await until_ready(f"http://{LOOPBACK}:{port}")
        await _until_waiting(meter)
        await asyncio.sleep(min(REST_S, seconds))
        before, begun, first = commands(await meter.info("commandstats")), time.monotonic_ns(), cpu_of(pids)
        await asyncio.sleep(seconds)
        last, wall, after = cpu_of(pids), time.monotonic_ns() - begun, commands(await meter.info("commandstats"))
    told = {name: (count - before.get(name, 0)) / (wall / 1e9) for name, count in after.items()}
    told = {name: round(rate, 2) for name, rate in sorted(told.items(), key=lambda one: -one[1]) if rate}
    return [
        Row("queue_load.idle_worker_share", "ours", (last["worker"] - first["worker"]) / wall),
        Row("queue_load.idle_node_share", "ours", (last["api"] - first["api"]) / wall),
        Row("queue_load.idle_commands_per_s", "ours", sum(told.values()), raw={"commands": told}),
    ]


def cpu_of(pids: dict[str, int]) -> dict[str, int]:
    """CPU of each so far, ns."""
    return {name: cpu_ns(pid) for name, pid in pids.items()}


async def _until_waiting(meter: Any) -> None:
    """Return when a worker waits for the doorbell."""
    try:
        async with asyncio.timeout(READY_S):
            # Another process has no event to wait for.
            while "blpop" not in {client["cmd"] for client in await meter.client_list()}:  # noqa: ASYNC110 - see above
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise Void(f"no worker waits for work after {READY_S:.0f} s") from None
