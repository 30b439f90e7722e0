"""Processes of the harness: started on a core, spoken to in lines of JSON, ended with us."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from bench.machine import cores, on_core
from rejoinder.parent_death import dying_with_us

STOP_S = 10.0
_starting = asyncio.Lock()


class ChildFailed(RuntimeError):
    """A process of the harness died, or did not answer in time."""


class Child:
    """One that runs; made by :func:`start`."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def say(self, line: str) -> None:
        """One line to its standard input."""
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(f"{line}\n".encode())
        await stdin.drain()

    async def hear(self, timeout_s: float) -> dict[str, Any]:
        """Its next line, a JSON object. Raises :class:`ChildFailed` when there is none in time."""
        stdout = self._process.stdout
        assert stdout is not None
        try:
            async with asyncio.timeout(timeout_s):
                line = await stdout.readline()
        except TimeoutError:
            raise ChildFailed(f"{self.name} said nothing for {timeout_s:.0f} s") from None
        if not line:
            raise ChildFailed(f"{self.name} ended with {await self._process.wait()}")
        return json.loads(line)

    async def stop(self) -> None:
        """Close its input, ask it to end, and make sure."""
        if self._process.returncode is not None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        else:
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def start(
    name: str,
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    serves: bool = False,
    talks: bool = False,
    quiet: bool = True,
) -> AsyncGenerator[Child]:
    """Run a command until the end of the block.

    Args:
        name: for messages.
        command: the first word is a path.
        env: its whole environment; ``None`` = ours.
        serves: put it on the core of the server under test.
        talks: its standard streams are pipes for lines of JSON; without it SIGTERM ends it.
        quiet: throw its standard error away.
    """
    pipe = asyncio.subprocess.PIPE if talks else asyncio.subprocess.DEVNULL
    # Children take the core from this thread, so only one of them is started at a time.
    async with _starting:
        with on_core(cores()[0 if serves else 1]):
            process = await asyncio.create_subprocess_exec(
                *dying_with_us(command),
                env=dict(os.environ if env is None else env),
                stdin=pipe if talks else None,
                stdout=pipe,
                stderr=asyncio.subprocess.DEVNULL if quiet else None,
                limit=64 * 2**20,
            )
    child = Child(name, process)
    try:
        yield child
    finally:
        await child.stop()
