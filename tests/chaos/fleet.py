"""A fleet as it runs in production, on one machine: nodes behind nginx, workers, Redis with a replica, a provider.

Every process reaches Redis through a proxy of its own, so that one worker alone can be cut off; the clocks of Redis, of
one node and of one worker can be set.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self, cast

from broker.redis import connect
from rejoinder.embedded import EmbeddedServer, find_binary
from rejoinder.environment import inherited
from rejoinder.ports import free_port
from rejoinder.probe import is_ready
from rejoinder.supervisor import Child
from tests.chaos.provider import ChaosProvider
from tests.chaos.proxy import FaultProxy
from tests.support.nginx import Nginx
from tests.support.waiting import wait_until

NODES = ("node-1", "node-2", "node-3")
WORKERS = ("worker-1", "worker-2", "worker-3")
PREFIX = "chaos"
KEYS = {"tenant-a": "key-a-of-this-test", "tenant-b": "key-b-of-this-test"}
LEASE_S = 2.0
SKEW = {"node-2": "+3600", "worker-2": "-7200"}
"""Seconds by which the wall clocks of these processes are wrong all the time."""


def faked(clock: Path) -> dict[str, str]:
    """The environment under which a process takes its wall clock from a file; its monotonic clock is left alone."""
    found = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if found is None:
        raise RuntimeError("libfaketime is needed: apt-get install faketime")
    return {
        "LD_PRELOAD": str(found),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


class Clock:
    """A wall clock that can be set."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.set(0)

    def set(self, seconds: float) -> None:
        """So many seconds before or behind the true time."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(f"{seconds:+.0f}\n")
        fresh.replace(self.path)


class Fleet:
    """An async context manager; inside it everything is ready. ``log`` = where the processes' output goes."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._stack = AsyncExitStack()
        self._directory = Path()
        self.children: dict[str, Child] = {}
        self.proxies: dict[str, FaultProxy] = {}
        self.ports: dict[str, int] = {}
        self.servers: list[EmbeddedServer] = []
        """The primary, and its replica."""
        self.clocks: dict[EmbeddedServer, Clock] = {}
        self.provider = ChaosProvider()
        self.front: Nginx
        self.complaints: list[str] = []
        """Errors that no process may have, whatever happens round it: tracebacks, and lines of that level."""
        self.died: list[str] = []
        """Sentences of the supervisor about processes that went without being told."""

    async def __aenter__(self) -> Self:
        stack = self._stack
        try:
            self._directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rejoinder-chaos-")))
            self._output = stack.enter_context(self._log.open("w"))
            await stack.enter_async_context(self.provider)
            self.providers = await stack.enter_async_context(FaultProxy("127.0.0.1", self.provider.port))
            for name in ("first", "second"):
                await self._add_server(name)
            self.replication = await stack.enter_async_context(FaultProxy("127.0.0.1", self.primary.port))
            await self.attach_replica()
            await self._start_processes()
        except BaseException:
            await stack.aclose()
            raise
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._stack.aclose()

    @property
    def primary(self) -> EmbeddedServer:
        """The server that is written to."""
        return self.servers[0]

    @property
    def replica(self) -> EmbeddedServer:
        """The one that follows it."""
        return self.servers[1]

    def admin(self, server: EmbeddedServer | None = None) -> Any:
        """A client past the proxies, to be closed by the caller."""
        return cast("Any", connect((server or self.primary).url, size=2, timeout_s=10.0))

    async def attach_replica(self) -> None:
        """Let the second server follow the first one, through the replication proxy."""
        self.replication.heal()
        self.replication.target = ("127.0.0.1", self.primary.port)
        self.replication.cut()
        client = self.admin(self.replica)
        try:
            await client.replicaof("127.0.0.1", self.replication.port)
            await wait_until(lambda: _in_sync(client), 30)
        finally:
            await client.aclose()

    async def swap(self) -> None:
        """Promote the replica, as it stands, and send everybody there."""
        client = self.admin(self.replica)
        try:
            await client.replicaof("NO", "ONE")
        finally:
            await client.aclose()
        self.servers.reverse()
        for proxy in self.proxies.values():
            proxy.target = ("127.0.0.1", self.primary.port)
            proxy.cut()

    def signal(self, name: str, number: signal.Signals) -> int | None:
        """Send a signal to a process; answers its pid, if it lives."""
        pid = self.children[name].pid
        if pid is not None:
            os.kill(pid, number)
        return pid

    async def ready(self) -> None:
        """Return when every node is ready."""
        for name in NODES:
            await wait_until(lambda name=name: is_ready(f"http://127.0.0.1:{self.ports[name]}"), 60)

    async def _add_server(self, name: str) -> None:
        directory = self._directory / name
        directory.mkdir()
        clock = Clock(directory / "clock")
        launcher = directory / "launch"
        exports = " ".join(f"{key}={shlex.quote(value)}" for key, value in faked(clock.path).items())
        # Servers of this test keep a replica in step at once, and go back to disk as quickly as they can.
        launcher.write_text(
            f'#!/bin/sh\nexec env {exports} {find_binary()} "$@" --repl-diskless-sync-delay 0 --repl-timeout 5\n'
        )
        launcher.chmod(0o755)
        server = EmbeddedServer(data_dir=directory / "data", binary=str(launcher))
        await self._stack.enter_async_context(server)
        self.servers.append(server)
        self.clocks[server] = clock

    async def _start_processes(self) -> None:
        stack = self._stack
        group = await stack.enter_async_context(asyncio.TaskGroup())
        stack.push_async_callback(self._stop)
        for name in (*NODES, *WORKERS):
            self.proxies[name] = await stack.enter_async_context(FaultProxy("127.0.0.1", self.primary.port))
            self.children[name] = self._child(name)
            group.create_task(self.children[name].run())
        await self.ready()
        self.front = await stack.enter_async_context(Nginx(list(self.ports.values())))

    def _child(self, name: str) -> Child:
        if name in NODES:
            self.ports[name] = free_port()
            arguments = ("api", "--host", "127.0.0.1", "--port", str(self.ports[name]))
        else:
            arguments = ("worker",)
        return Child(
            name,
            lambda: (sys.executable, "-m", "rejoinder", *arguments),
            self._environment(name),
            on_line=lambda who, line: self._note(f"{who}: {line}"),
            on_note=self._on_death,
        )

    def _environment(self, name: str) -> Mapping[str, str]:
        config = self._directory / f"{name}.toml"
        # The provider's book has the caller's name, by the path.
        url = f"http://127.0.0.1:{self.providers.port}/{name}/v1"
        config.write_text(
            f'[providers.vllm]\nbase_url = "{url}"\ncan_continue = true\n[providers.plain]\nbase_url = "{url}"\n'
        )
        ours = {
            "REDIS_URL": f"redis://127.0.0.1:{self.proxies[name].port}/0",
            "KEY_PREFIX": PREFIX,
            "NODE_NAME": name,
            "API_KEYS": ",".join(f"{tenant}:{key}" for tenant, key in KEYS.items()),
            "LEASE_S": str(LEASE_S),
            "HEARTBEAT_S": "1",
            "STALL_S": "3",
            "MAX_ATTEMPTS": "8",
            "WORKER_DRAIN_S": "0.3",
            "SEND_TIMEOUT_S": "5",
            "CONFIG": str(config),
        }
        clean = {key: value for key, value in inherited().items() if not key.startswith("REJOINDER_")}
        skew: dict[str, str] = {}
        if name in SKEW:
            clock = Clock(self._directory / f"{name}.clock")
            clock.set(float(SKEW[name]))
            skew = faked(clock.path)
        return {**clean, **skew, "PYTHONUNBUFFERED": "1", **{f"REJOINDER_{key}": value for key, value in ours.items()}}

    def _note(self, line: str) -> None:
        self._output.write(line + "\n")
        if "Traceback" in line or " ERROR " in line or " CRITICAL " in line:
            self.complaints.append(line)

    def _on_death(self, sentence: str) -> None:
        self._note(f"supervisor: {sentence}")
        if not any(word in sentence for word in ("SIGKILL", "exit code 0")):
            self.died.append(sentence)

    async def _stop(self) -> None:
        for name, proxy in self.proxies.items():
            proxy.heal()
            self.signal(name, signal.SIGCONT)
        await asyncio.gather(*(child.stop(10) for child in self.children.values()))


async def _in_sync(client: Any) -> bool:
    info = await client.info("replication")
    return info.get("master_link_status") == "up" and not info.get("master_sync_in_progress")
