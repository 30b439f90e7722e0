"""Time to the first token, through Rejoinder and straight from the provider: ``python -m bench.ttft [asks]``.

A node, a worker and a server of their own, and a provider on the loopback that answers at once; the same client asks
the provider itself and Rejoinder, in turn. What is added is the way in (queue, worker, provider's client) and the way
out (log, notice, node): the provider's stamp in the first token says which part is which. An answer that is not whole
makes the run void.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from bench.child import start
from bench.curves.fleet import environment
from bench.fake_answers import Ask, is_whole
from bench.fake_provider import NAME, FakeProvider, fake_provider
from bench.machine import cpu_ns, settle, waited_ns
from bench.measure import Row
from bench.naive.jobs import submitting
from bench.ours import until_ready
from bench.scale import Scale
from bench.stats import percentile
from rejoinder.embedded import EmbeddedServer
from rejoinder.ports import LOOPBACK, free_port

ASKS = 250
WARM = 30
TOKENS = 4
NAIVE_EVERY = 15
POLL_S = 0.5
"""Of stock arq: naive asks are spread over it, or they would all come at the same moment between two polls."""
RATE = 200.0
"""Of the tokens behind the first one, which must not come in one piece with it."""
WAITED_MS = 1.0
ASK_S = 10.0
RUN_S = 60.0
_STAMP = re.compile(rb"@(\d+)@")
_TEXT = re.compile(rb'"(?:content|text)": ?"([^"]*)"')
"""Of an OpenAI chunk, and of an event of ours; the texts are digits and blanks."""


class NotWhole(RuntimeError):
    """An answer lacked something: the run is void."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to the provider."""

    url: str
    body: Callable[[Ask], dict[str, Any]]
    end: bytes
    """What an answer that is whole has in it."""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    pids: dict[str, int] = field(default_factory=dict[str, int])
    """What it takes, by name."""
    submit: Callable[[str, str], Awaitable[None]] | None = None
    """Where asking and reading are two things: queues (stream, prompt), which is then read at the URL."""
    every: int = 1
    """Only every so many turns are its own: for a way that takes long."""


@dataclass(slots=True)
class Took:
    """Milliseconds of every ask: to the first token, and of those to the provider's saying it."""

    first: list[float] = field(default_factory=list[float])
    to_provider: list[float] = field(default_factory=list[float])
    cpu_ms: dict[str, float] = field(default_factory=dict[str, float])
    """Of each process, for one ask."""
    waited_ms: float = 0.0
    """For one ask, in which they were ready and something else had their core."""

    @property
    def note(self) -> str:
        """What a reader of the times has to know."""
        if self.waited_ms <= WAITED_MS:
            return ""
        return f"node and worker waited {self.waited_ms:.1f} ms of each ask for their core"


def straight(provider: FakeProvider) -> Way:
    """The provider itself."""

    def body(ask: Ask) -> dict[str, Any]:
        return {"model": "m", "messages": [{"role": "user", "content": ask.prompt()}], "stream": True}

    return Way(f"{provider.url('direct')}/chat/completions", body, b"[DONE]")


@asynccontextmanager
async def rejoinder(provider: FakeProvider, live: str) -> AsyncGenerator[Way]:
    """Submit and stream in one request (PROTOCOL.md, HTTP-2), on processes of their own."""

    def body(ask: Ask) -> dict[str, Any]:
        return {"model": f"{NAME}/m", "input": ask.prompt()}

    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = await stack.enter_async_context(EmbeddedServer())
        env = environment(server.url, CONFIG=provider.config(folder, "worker"), LIVE=live)
        port, pids = free_port(), dict[str, int]()
        for name, more in (("worker", ()), ("api", ("--port", str(port)))):
            command = (sys.executable, "-m", "rejoinder", name, *more)
            pids[name] = (await stack.enter_async_context(start(name, command, env=env, serves=True))).pid
        await until_ready(f"http://{LOOPBACK}:{port}")
        url = f"http://{LOOPBACK}:{port}/v1/generations"
        yield Way(url, body, b"generation.completed", {"Accept": "text/event-stream"}, pids)


@asynccontextmanager
async def naive(provider: FakeProvider) -> AsyncGenerator[Way]:
    """What people write by hand: stock arq, its job, and the naive reader; submits cost no HTTP here."""
    port = free_port()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(EmbeddedServer())
        env = {**os.environ, "NAIVE_REDIS_URL": server.url, "NAIVE_PORT": str(port)}
        env["NAIVE_PROVIDER_URL"] = provider.url("naive")
        pids: dict[str, int] = {}
        for name, module in (("worker", "bench.naive.jobs"), ("api", "bench.naive.app")):
            child = await stack.enter_async_context(start(name, (sys.executable, "-m", module), env=env, serves=True))
            pids[name] = child.pid
        await until_ready(f"http://{LOOPBACK}:{port}")
        queue = await stack.enter_async_context(submitting(server.url))
        url = f"http://{LOOPBACK}:{port}/streams/{{}}/events"
        yield Way(url, lambda _: {}, b'"done"', pids=pids, submit=queue.submit, every=NAIVE_EVERY)


async def ask(http: httpx2.AsyncClient, way: Way, key: str) -> tuple[float, float]:
    """(request -> first token seen, request -> first token sent by the provider), ms. Raises :class:`NotWhole`."""
    wanted = Ask(key, TOKENS, RATE)
    url, method, body = way.url.format(key), "GET" if way.submit else "POST", way.body(wanted) or None
    heard, stamp, seen = b"", None, 0
    begun = time.monotonic_ns()
    async with asyncio.timeout(ASK_S):
        if way.submit:
            await way.submit(key, wanted.prompt())
        async with http.stream(method, url, json=body, headers=way.headers) as answer:
            async for data in answer.aiter_bytes():
                heard += data
                if stamp is None and (stamp := _STAMP.search(heard)) is not None:
                    seen = time.monotonic_ns()
    if stamp is None or way.end not in heard or not is_whole(b"".join(_TEXT.findall(heard)).decode(), wanted):
        raise NotWhole(f"{way.url} answered {answer.status_code}: {heard[-300:]!r}")
    return (seen - begun) / 1e6, (int(stamp[1]) - begun) / 1e6


async def measure(asks: int, systems: Sequence[str] = ("naive", "ours"), warm: int = WARM) -> dict[str, Took]:
    """All ways in turn, each ask alone. Raises :class:`NotWhole`, ``TimeoutError``."""
    keys = map(str, itertools.count())
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(asyncio.timeout(RUN_S))
        provider = await stack.enter_async_context(fake_provider())
        ways = {"direct": straight(provider)}
        for name in systems:
            live = name.partition("-")[2] or "direct"
            made = naive(provider) if name == "naive" else rejoinder(provider, live)
            ways[name] = await stack.enter_async_context(made)
        http = await stack.enter_async_context(httpx2.AsyncClient(timeout=ASK_S))
        for turn in range(warm):
            for way in ways.values():
                if turn % way.every == 0:
                    await ask(http, way, next(keys))
        took = {name: Took() for name in ways}
        before = {pid: (cpu_ns(pid), waited_ns(pid)) for way in ways.values() for pid in way.pids.values()}
        for turn, (name, way) in itertools.product(range(asks), ways.items()):
            if turn % way.every == 0:
                if way.submit:
                    await asyncio.sleep(turn * 0.618 % 1 * POLL_S)
                first, to_provider = await ask(http, way, next(keys))
                took[name].first.append(first)
                took[name].to_provider.append(to_provider)
        for name, way in ways.items():
            for process, pid in way.pids.items():
                took[name].cpu_ms[process] = (cpu_ns(pid) - before[pid][0]) / 1e6 / len(took[name].first)
                took[name].waited_ms += (waited_ns(pid) - before[pid][1]) / 1e6 / len(took[name].first)
    return took


def rows_of(took: dict[str, Took]) -> list[Row]:
    """What is added is the difference of medians, and of the 99th percentiles: no ask is a pair of another."""
    direct = took["direct"].first
    rows: list[Row] = []
    for name, each in took.items():
        raw = {"ms": each.first, "to_provider_ms": each.to_provider}
        rows.append(Row("ttft.p50_ms", name, percentile(each.first, 0.5), raw=raw))
        rows.append(Row("ttft.p99_ms", name, percentile(each.first, 0.99)))
        if name == "direct":
            continue
        for share, quantile in (("p50", 0.5), ("p99", 0.99)):
            added = percentile(each.first, quantile) - percentile(direct, quantile)
            rows.append(Row(f"ttft.added_{share}_ms", name, added, each.note))
        rows.append(Row("ttft.way_in_ms", name, percentile(each.to_provider, 0.5)))
        out = [whole - part for whole, part in zip(each.first, each.to_provider, strict=True)]
        rows.append(Row("ttft.way_out_ms", name, percentile(out, 0.5)))
        rows += [Row(f"ttft.{process}_cpu_ms", name, ms) for process, ms in each.cpu_ms.items()]
    return rows


async def run(scale: Scale) -> list[Row]:
    """Rows of the core table."""
    if scale.smoke:
        return rows_of(await measure(3, warm=1))
    return rows_of(await measure(scale.repeats(ASKS)))


async def main(asks: int) -> None:
    """Print the rows."""
    for row in rows_of(await measure(asks)):
        print(f"{row.metric:20} {row.system:10} {row.value:8.2f}  {row.note}")


if __name__ == "__main__":
    settle()
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else ASKS))
