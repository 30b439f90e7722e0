"""The ways on which ``bench.chat`` asks for chat completions: each one's processes and requests."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from bench.child import start
from bench.curves.fleet import environment
from bench.fake_answers import Ask
from bench.fake_provider import NAME, FakeProvider
from bench.machine import cpu_ns, waited_ns
from bench.ours import until_ready
from bench.peers.litellm import MODEL, litellm
from bench.redis_meter import RedisMeter
from bench.systems import Viewer
from bench.ttft import Way
from rejoinder.embedded import EmbeddedServer
from rejoinder.ports import LOOPBACK, free_port

EACH = {"rejoinder": {"delivery": {"batch": "none"}}}
"""In the body: every token of the provider's is an event of its own, as it is on every other way."""


@dataclass(frozen=True, slots=True)
class ChatWay:
    """One way from the client to the provider."""

    name: str
    port: int
    path: str
    model: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Further fields of the body."""
    pids: Mapping[str, int] = field(default_factory=dict[str, int])
    """What it takes, by name."""
    redis: RedisMeter | None = None

    def body(self, ask: Ask) -> dict[str, Any]:
        """The request, as OpenAI's SDK would make it."""
        messages = [{"role": "user", "content": ask.prompt()}]
        return {"model": self.model, "messages": messages, "stream": True, **self.more}

    def viewer(self, ask: Ask) -> Viewer:
        """For the load generator."""
        return Viewer(self.path, self.headers, body=msgspec.json.encode(self.body(ask)))

    def way(self) -> Way:
        """For the client of :mod:`bench.ttft`, which reads an answer to its end."""
        return Way(f"http://{LOOPBACK}:{self.port}{self.path}", self.body, b"data: [DONE]", dict(self.headers))

    def waited_ns(self) -> int:
        """Nanoseconds so far in which its processes were ready and something else had their core."""
        return sum(map(waited_ns, self.pids.values()))

    async def cpu_us(self) -> dict[str, float]:
        """Microseconds of CPU so far, by process."""
        used = {name: cpu_ns(pid) / 1e3 for name, pid in self.pids.items()}
        if self.redis is not None:
            used["redis"] = await self.redis.cpu_ns() / 1e3
        return used


def straight(provider: FakeProvider) -> ChatWay:
    """The provider itself."""
    return ChatWay("direct", provider.port, "/direct/v1/chat/completions", MODEL)


@asynccontextmanager
async def through_us(provider: FakeProvider) -> AsyncGenerator[tuple[ChatWay, ChatWay]]:
    """A node, a worker and a server of their own: every token by itself; and neighbours joined, as is the default."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = await stack.enter_async_context(EmbeddedServer())
        meter = await stack.enter_async_context(RedisMeter(server.url))
        env = environment(server.url, CONFIG=provider.config(folder, "worker"))
        port, pids = free_port(), dict[str, int]()
        for name, more in (("worker", ()), ("node", ("--port", str(port)))):
            command = (sys.executable, "-m", "rejoinder", "api" if name == "node" else name, *more)
            pids[name] = (await stack.enter_async_context(start(name, command, env=env, serves=True))).pid
        await until_ready(f"http://{LOOPBACK}:{port}")

        def way(name: str, more: Mapping[str, Any]) -> ChatWay:
            return ChatWay(name, port, "/v1/chat/completions", f"{NAME}/m", {}, more, pids, meter)

        yield way("ours", EACH), way("ours-default", {})


@asynccontextmanager
async def through_litellm(provider: FakeProvider) -> AsyncGenerator[ChatWay]:
    """LiteLLM's proxy."""
    async with litellm(provider.url("litellm")) as proxy:
        headers = {"Authorization": f"Bearer {proxy.key}"}
        yield ChatWay("litellm", proxy.port, "/v1/chat/completions", MODEL, headers, {}, proxy.pids)
