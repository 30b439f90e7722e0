"""The service as the clients meet it: two nodes behind nginx, a worker, a provider, and a wire to cut."""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import tempfile
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rejoinder.dev import DevStack
from tests.clients.browser import FOLDER
from tests.clients.left import Ask
from tests.clients.upstream import ScriptedProvider
from tests.clients.wire import Exchange, Plan, Trouble, Wire
from tests.support.nginx import Nginx
from tests.support.waiting import wait_until

KEY = Ask("", "").key
_SETTINGS = {"API_KEYS": f"team:{KEY}", "HEARTBEAT_S": "0.2", "LEASE_S": "10"}
# One request for each connection, so that the wire can count the bytes of a response. The key for a browser's
# EventSource, which can't send one, is added here.
_HTTP = rf"""keepalive_timeout 0;
    map "$http_authorization|$uri" $added {{ default $http_authorization; "~^\|.*/events$" "Bearer {KEY}"; }}"""
_ADD_KEY = " proxy_set_header Authorization $added;"


@dataclass
class Service:
    """What runs, and what the tests do to it."""

    stack: DevStack
    wire: Wire
    provider: ScriptedProvider

    def plan(self, *troubles: Trouble, reach: int = 0, noticed: bool = False) -> None:
        """A trouble for each stream to come, and after each the model has still more to say.

        At a random byte below ``reach``, or when all that the model has said until then has passed. ``noticed``: the
        model goes on only when the nodes know that the reader has gone: what nginx has taken counts as delivered.
        """
        for mark, trouble in zip(self.provider.hold(len(troubles)), troubles, strict=True):
            after = random.randrange(1, reach) if reach else sys.maxsize
            self.wire.plans.append(Plan(after, self._and_on(trouble, noticed=noticed), mark))

    def _and_on(self, trouble: Trouble, *, noticed: bool) -> Trouble:
        async def both(exchange: Exchange) -> None:
            if noticed:
                # Before the client knows: it would be back, and watch, before anybody has looked.
                exchange.leave()
                await wait_until(self.unwatched, 10)
            happens = trouble(exchange)
            if happens is not None:
                await happens
            self.provider.release()

        return both

    async def unwatched(self) -> bool:
        """Whether no node serves a stream."""
        pages = [await asyncio.to_thread(_metrics, url) for url in self.stack.nodes.values()]
        return not any(_VIEWERS.search(page) for page in pages)

    async def calm(self) -> None:
        """Both nodes are up, and nothing is left of the test before."""
        self.provider.release_all()
        await self.stack.wait_ready()
        self.wire.plans.clear()
        self.wire.early.clear()
        self.wire.exchanges.clear()
        self.provider.asked.clear()

    async def kill_node(self, exchange: Exchange) -> None:
        """A plan's trouble: the node that serves this stream is killed; it is started again."""
        self.stack.kill(exchange.header("x-rejoinder-node"))

    async def cancel(self, exchange: Exchange) -> None:
        """A plan's trouble: somebody else cancels the generation that this stream is of."""
        await self.post(f"/v1/generations/{exchange.header('x-generation-id')}/cancel")

    async def post(self, path: str, body: Any = None) -> Any:
        """Ask a node, past the wire."""
        return await asyncio.to_thread(_request, f"{next(iter(self.stack.nodes.values()))}{path}", "POST", body)

    async def get(self, path: str) -> Any:
        """Likewise."""
        return await asyncio.to_thread(_request, f"{next(iter(self.stack.nodes.values()))}{path}", "GET", None)

    async def ended(self, generation: str) -> Any:
        """The record of a generation that has ended; waits for that."""
        return await self.get(f"/v1/generations/{generation}?wait=30")


_VIEWERS = re.compile(r"^rejoinder_stream_viewers [1-9]", re.MULTILINE)


def _metrics(url: str) -> str:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as response:
        return response.read().decode()


def _request(url: str, method: str, body: Any) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=40) as response:
        return json.load(response)


@asynccontextmanager
async def serving(page: dict[str, bytes]) -> AsyncGenerator[Service]:
    """Inside, everything is ready; ``page`` is served from the same origin."""
    # Not pytest's folder: nginx serves the page as another user, and pytest shuts that user out.
    with tempfile.TemporaryDirectory(prefix="rejoinder-clients-") as name:
        directory = Path(name)
        _publish(directory, page)
        async with ScriptedProvider() as provider, DevStack(isolated=True, env=_env(directory, provider)) as stack:
            ports = [int(url.rpartition(":")[2]) for url in stack.nodes.values()]
            lines = f"types {{ text/html html; text/javascript js; }} location {FOLDER}/ {{ root {directory}; }}"
            async with Nginx(ports, http=_HTTP, server=lines + _ADD_KEY) as front, Wire(front.port) as wire:
                yield Service(stack, wire, provider)


def _publish(directory: Path, page: dict[str, bytes]) -> None:
    directory.chmod(0o755)
    (directory / FOLDER.strip("/")).mkdir()
    for path, content in page.items():
        (directory / path.strip("/")).write_bytes(content)


def _env(directory: Path, provider: ScriptedProvider) -> dict[str, str]:
    config = directory / "config.toml"
    config.write_text(f'[providers.script]\nbase_url = "http://127.0.0.1:{provider.port}/v1"\n')
    return {f"REJOINDER_{name}": value for name, value in {**_SETTINGS, "CONFIG": str(config)}.items()}
