"""Processes of the peers: started on the servers' core, ended with the run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

SERVER_CORE = 0
START_S = 15.0
STOP_S = 5.0


class NotStarted(Exception):
    """The server did not come up; the message holds what it said."""


@asynccontextmanager
async def running(
    command: Sequence[str], core: int, *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Inside, the process runs on that core, its standard output a pipe."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()


async def first_line(process: asyncio.subprocess.Process) -> str:
    """What it says once it serves. Raises :class:`NotStarted`."""
    assert process.stdout is not None
    with suppress(TimeoutError):
        line = await asyncio.wait_for(process.stdout.readline(), START_S)
        if line:
            return line.decode().strip()
    raise NotStarted(f"process {process.pid} said nothing")


async def until_says(port: int, path: str, text: bytes) -> None:
    """Return once a GET there answers with this text in it. Raises :class:`NotStarted`."""
    try:
        async with asyncio.timeout(START_S):
            while text not in await _get(port, path):  # noqa: ASYNC110 - another process has no event to wait for
                await asyncio.sleep(0.02)
    except TimeoutError as error:
        raise NotStarted(f"port {port} does not say {text!r}") from error


async def _get(port: int, path: str) -> bytes:
    """The whole answer; empty when nothing listens."""
    with suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer
    return b""


def children(pid: int) -> list[int]:
    """Processes that this one started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
