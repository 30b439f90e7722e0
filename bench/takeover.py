"""Kill -9 of a worker -> the second worker's ``generation.started``, with a lease of three seconds."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import aclosing

from broker.client import Broker
from broker.events import TERMINAL_TYPES, Started
from broker.request import GenerationRequest
from broker.tail_items import Batch

LEASE_S = 3
TOKENS = 300


def start_worker(redis_url: str) -> subprocess.Popen[bytes]:
    """A worker in a process of its own."""
    env = {**os.environ, "REJOINDER_REDIS_URL": redis_url, "REJOINDER_LEASE_S": str(LEASE_S)}
    return subprocess.Popen([sys.executable, "-m", "rejoinder", "worker"], env=env, stderr=subprocess.DEVNULL)


async def measure(broker: Broker, redis_url: str, rounds: int) -> list[float]:
    """Milliseconds of each takeover; raises when a log is not dense or does not end once."""
    took: list[float] = []
    for _ in range(rounds):
        first = start_worker(redis_url)
        options = {"tokens": TOKENS, "rate": 30}
        made = await broker.submit(GenerationRequest(model="demo/demo-1", input="x", provider_options=options))
        second: subprocess.Popen[bytes] | None = None
        killed_at = 0.0
        seqs: list[int] = []
        ends = 0
        loop = asyncio.get_running_loop()
        async with aclosing(broker.tail(made.record.id, replay="exact")) as items:
            async for item in items:
                for entry in item.entries if isinstance(item, Batch) else ():
                    seqs.append(entry.position.seq)
                    ends += isinstance(entry.event, TERMINAL_TYPES)
                    if isinstance(entry.event, Started) and entry.event.attempt == 2:
                        took.append((loop.time() - killed_at) * 1000)
                if len(seqs) > 10 and second is None:
                    second = start_worker(redis_url)
                    # Its first second is Python's start-up: what is measured is the takeover by a running worker.
                    await asyncio.sleep(LEASE_S + 1.5)
                    first.send_signal(signal.SIGKILL)
                    first.wait()
                    killed_at = loop.time()
        if seqs != list(range(1, len(seqs) + 1)) or ends != 1:
            raise RuntimeError(f"a log with holes: {seqs[:5]} … {len(seqs)}, {ends} ends")
        if second is not None:
            second.terminate()
            second.wait()
    return took
