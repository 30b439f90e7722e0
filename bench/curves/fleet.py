"""Ours on any number of node processes that share one server: the harness's own system, several times over."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from bench.child import Child, start
from bench.ours import PREFIX, TENANT, Ours, until_ready
from bench.redis_meter import RedisMeter
from rejoinder.embedded import EmbeddedServer
from rejoinder.ports import LOOPBACK, free_port


@asynccontextmanager
async def nodes(count: int) -> AsyncGenerator[Sequence[Ours]]:
    """So many nodes, all of them on the servers' core."""
    key = secrets.token_hex(16)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(EmbeddedServer())
        meter = await stack.enter_async_context(RedisMeter(server.url))
        found: list[Ours] = []
        for number in range(count):
            port = free_port()
            command = (sys.executable, "-m", "rejoinder", "api", "--port", str(port))
            env = environment(server.url, API_KEYS=f"{TENANT}:{key}")
            node = await stack.enter_async_context(start(f"node {number}", command, env=env, serves=True))
            await until_ready(f"http://{LOOPBACK}:{port}")
            found.append(Ours("rejoinder", server.url, port, key, node.pid, meter))
        yield found


@asynccontextmanager
async def worker(url: str) -> AsyncGenerator[Child]:
    """One worker, on the servers' core."""
    command = (sys.executable, "-m", "rejoinder", "worker")
    async with start("worker", command, env=environment(url, MAX_JOBS="5000"), serves=True) as child:
        yield child


def environment(url: str, **settings: str) -> dict[str, str]:
    """Ours, with these settings."""
    given = {"REDIS_URL": url, "KEY_PREFIX": PREFIX, "LOG_LEVEL": "error", **settings}
    return {**os.environ, **{f"REJOINDER_{name}": value for name, value in given.items()}}
