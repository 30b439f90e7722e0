"""What a reader that stops reading costs a node: its memory, with many of them on one long log."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

from broker.client import Broker
from broker.request import GenerationRequest
from broker.settings import Settings
from rejoinder.embedded import EmbeddedServer
from rejoinder.ports import free_port
from rejoinder.probe import is_ready
from tests.support.waiting import wait_until

EVENTS = 100_000
READERS = 50
_SETTLE_S = 3.0


async def stuck_readers(events: int = EVENTS, at_once: int = READERS, rounds: int = 3) -> list[float]:
    """KiB a reader in the process and in the kernel's send buffers, once for each round."""
    async with EmbeddedServer() as server:
        generation = await _long_log(server.url, events)
        port = free_port()
        node = _start(server.url, "api", "--port", str(port))
        try:
            await wait_until(lambda: is_ready(f"http://127.0.0.1:{port}"), 30)
            # One reader first, so that what the node loads once is not counted.
            warm = [_reader(port, generation)]
            await asyncio.sleep(_SETTLE_S)
            costs: list[float] = []
            for _ in range(rounds):
                before = _rss_kib(node.pid)
                readers = [_reader(port, generation) for _ in range(at_once)]
                await asyncio.sleep(_SETTLE_S)
                queued = _send_queues_kib(port) / (at_once + 1)
                costs.append((_rss_kib(node.pid) - before) / at_once + queued)
                for reader in readers:
                    reader.close()
                await asyncio.sleep(_SETTLE_S)
            warm[0].close()
        finally:
            node.terminate()
            await asyncio.to_thread(node.wait)
    return costs


async def _long_log(url: str, events: int) -> str:
    worker = _start(url, "worker")
    options = {"tokens": events, "rate": 0}
    wanted = GenerationRequest.model_validate(
        {"model": "demo/demo-1", "input": "x", "provider_options": options, "delivery": {"batch": "none"}}
    )
    async with Broker(Settings(redis_url=url)) as broker:
        made = await broker.submit(wanted)
        record = await broker.wait(made.record.id, 120)
        if record.status != "completed" or record.last_event_id is None:
            raise RuntimeError(f"the long log ended as {record.status}: {record.error}")
        if int(record.last_event_id.split("-")[1]) < events:
            raise RuntimeError(f"the long log is too short: {record.last_event_id}")
    worker.terminate()
    await asyncio.to_thread(worker.wait)
    return made.record.id


def _start(url: str, *arguments: str) -> subprocess.Popen[bytes]:
    env = {**os.environ, "REJOINDER_REDIS_URL": url}
    return subprocess.Popen([sys.executable, "-m", "rejoinder", *arguments], env=env, stderr=subprocess.DEVNULL)


def _reader(port: int, generation: str) -> socket.socket:
    """Asks for everything and reads nothing."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect(("127.0.0.1", port))
    path = f"/v1/generations/{generation}/events?replay=exact"
    reader.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".encode())
    return reader


def _rss_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def _send_queues_kib(port: int) -> float:
    """Bytes that the kernel holds for all connections of this port, from /proc/net/tcp."""
    total = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].partition(":")[2], 16) == port:
            total += int(fields[4].partition(":")[0], 16)
    return total / 1024
