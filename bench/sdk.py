"""What a token costs the worker that hears it: ``python -m bench.sdk [seconds]``, and rows of the core table.

Many answers at once come from a provider on loopback, in a process of its own, each token in a packet of its own. They
are read in each way there is, and processor time of this process is counted. A run that does not bring every word is
void. The floor reads the bytes with the HTTP client under the SDKs and looks at none of them; nothing is taken off.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import uvloop
from pydantic import SecretStr

from bench.child import start
from bench.machine import cores
from bench.measure import Row
from bench.scale import Scale
from bench.sdk_provider import CHAT, MESSAGES, model, text
from broker.client import Broker
from broker.events import TextDelta
from broker.garbage import look_rarely
from broker.request import Delivery, GenerationRequest
from broker.settings import Settings
from rejoinder.embedded import EmbeddedServer
from worker.generate import Generator
from worker.providers.anthropic import AnthropicProvider
from worker.providers.base import Call, Provider
from worker.providers.openai_chat import OpenAIChatProvider
from worker.providers.registry import Registry

STREAMS = 20
RATE = 100.0
SECONDS = 2.0
TIMEOUT_S = 60.0
KEY = "sk-of-a-bench"
_WORD = re.compile(r" word\d+")
PROMPT: Any = [{"role": "user", "content": "x"}]

Ask: TypeAlias = Callable[[str], Awaitable[str]]
"""Asks for one answer by its model's name; gives its text."""


@dataclass(frozen=True, slots=True)
class Shape:
    """So many answers at once, of so many tokens, so many a second; 0 = as fast as they are read."""

    streams: int
    tokens: int
    rate: float


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of processor time for each token."""

    wire: str
    way: str
    us: float
    tokens: int


async def _cost(wire: str, way: str, ask: Ask, shape: Shape, read: Ask | None = None) -> Cost:
    name = model(shape.tokens, shape.rate)
    await ask(model(1, 0))
    before = time.process_time()
    async with asyncio.timeout(TIMEOUT_S):
        said = await asyncio.gather(*(ask(name) for _ in range(shape.streams)))
    spent = time.process_time() - before
    for each in said:
        if (await read(each) if read else each) != text(shape.tokens):
            raise RuntimeError("a run that loses a word is void")
    total = shape.streams * shape.tokens
    return Cost(wire, way, spent / total * 1e6, total)


async def _through(provider: Provider, name: str) -> str:
    call = Call(GenerationRequest(model=f"x/{name}", input="x", max_output_tokens=9), name)
    return "".join([item.text async for item in provider.stream(call) if isinstance(item, TextDelta)])


@asynccontextmanager
async def _floor(url: str, path: str) -> AsyncGenerator[Ask]:
    import httpx2  # noqa: PLC0415 - imported on first use

    async with httpx2.AsyncClient(timeout=TIMEOUT_S, limits=httpx2.Limits()) as client:

        async def ask(name: str) -> str:
            async with client.stream("POST", f"{url}{path}", json={"model": name}) as answer:
                return b"".join([piece async for piece in answer.aiter_raw()]).decode()

        yield ask


@asynccontextmanager
async def _chat(url: str) -> AsyncGenerator[Mapping[str, Ask]]:
    import openai  # noqa: PLC0415 - imported on first use

    provider = OpenAIChatProvider("openai", api_key=KEY, base_url=f"{url}/v1", connect_s=5, stall_s=TIMEOUT_S)

    async def typed(name: str) -> str:
        chunks = await client.chat.completions.create(model=name, messages=PROMPT, stream=True)
        return "".join([choice.delta.content or "" async for chunk in chunks for choice in chunk.choices])

    async def untyped(name: str) -> str:
        body, stream = {"model": name, "messages": PROMPT, "stream": True}, openai.AsyncStream[object]
        chunks: Any = await client.post("/chat/completions", body=body, cast_to=object, stream=True, stream_cls=stream)
        said = [choice["delta"].get("content") or "" async for chunk in chunks for choice in chunk["choices"]]
        return "".join(said)

    async with openai.AsyncOpenAI(api_key=KEY, base_url=f"{url}/v1", max_retries=0) as client:
        yield {"SDK, typed": typed, "SDK, untyped": untyped, "ours": lambda name: _through(provider, name)}
    await provider.aclose()


@asynccontextmanager
async def _messages(url: str) -> AsyncGenerator[Mapping[str, Ask]]:
    import anthropic  # noqa: PLC0415 - imported on first use

    provider = AnthropicProvider("anthropic", api_key=KEY, base_url=url, connect_s=5, stall_s=TIMEOUT_S)

    async def typed(name: str) -> str:
        events = await client.messages.create(model=name, messages=PROMPT, max_tokens=9, stream=True)
        deltas = [event.delta async for event in events if event.type == "content_block_delta"]
        return "".join([delta.text for delta in deltas if delta.type == "text_delta"])

    async def untyped(name: str) -> str:
        body, stream = {"model": name, "messages": PROMPT, "max_tokens": 9}, anthropic.AsyncStream[object]
        events: Any = await client.post("/v1/messages", body=body, cast_to=object, stream=True, stream_cls=stream)
        return "".join([event["delta"].get("text", "") async for event in events if "delta" in event])

    async with anthropic.AsyncAnthropic(api_key=KEY, base_url=url, max_retries=0) as client:
        yield {"SDK, typed": typed, "SDK, untyped": untyped, "ours": lambda name: _through(provider, name)}
    await provider.aclose()


@asynccontextmanager
async def _worker(url: str) -> AsyncGenerator[tuple[Ask, Ask]]:
    """Whole generations: provider, drive and writer; Redis is another process. And how to read what they wrote."""
    async with EmbeddedServer() as server:
        settings = Settings(
            redis_url=server.url,
            log_level="error",
            max_queue=100_000,
            openai_api_key=SecretStr(KEY),
            openai_base_url=f"{url}/v1",
        )
        async with Broker(settings) as broker, Registry(settings, {}) as registry:
            generator = Generator(broker, registry)

            async def ask(name: str) -> str:
                request = GenerationRequest(model=f"openai/{name}", input="x", delivery=Delivery(batch="none"))
                generation = (await broker.submit(request)).record.id
                await generator.run(generation)
                return generation

            async def read(generation: str) -> str:
                output = (await broker.get(generation)).output
                return output.text if output is not None else ""

            yield ask, read


async def _words(body: str) -> str:
    return "".join(_WORD.findall(body))


async def measure(shape: Shape) -> list[Cost]:
    """All ways, in turn. Raises ``RuntimeError`` for one that loses a word."""
    usable = os.sched_getaffinity(0)
    costs: list[Cost] = []
    try:
        async with start("provider", [sys.executable, "-m", "bench.sdk_provider"], talks=True) as child:
            url = str((await child.hear(TIMEOUT_S))["url"])
            os.sched_setaffinity(0, {cores()[0]})
            for wire, path, ways in (("openai", CHAT, _chat), ("anthropic", MESSAGES, _messages)):
                async with _floor(url, path) as floor, ways(url) as asks:
                    costs.append(await _cost(wire, "floor", floor, shape, _words))
                    costs += [await _cost(wire, way, ask, shape) for way, ask in asks.items()]
            async with _worker(url) as (ask, read):
                costs.append(await _cost("openai", "worker", ask, shape, read))
    finally:
        os.sched_setaffinity(0, usable)
    return costs


def shape_of(scale: Scale) -> Shape:
    """What a run of this size asks for."""
    return Shape(scale.of(STREAMS), max(int(scale.seconds(SECONDS) * RATE), 5), RATE)


def rows_of(costs: Sequence[Cost]) -> list[Row]:
    """For the core table: what one would write by hand is what the SDKs' documentation shows."""
    systems = {"SDK, typed": "naive", "ours": "ours", "floor": "floor"}
    rows = [
        Row(f"sdk.{cost.wire}_us", systems[cost.way], cost.us, raw={"tokens": cost.tokens})
        for cost in costs
        if cost.way in systems
    ]
    whole = [cost for cost in costs if cost.way == "worker"]
    return [*rows, *(Row("sdk.worker_us", "ours", cost.us, raw={"tokens": cost.tokens}) for cost in whole)]


async def run(scale: Scale) -> list[Row]:
    """Rows of the core table."""
    return rows_of(await measure(shape_of(scale)))


async def main(seconds: float) -> None:
    """Print the table: each token in a packet of its own, as models speak, and as fast as can be."""
    look_rarely()
    live = shape_of(Scale(time=seconds / SECONDS))
    burst = Shape(live.streams // 4, live.tokens * 4, 0)
    print("| wire | way | pace | µs/token | tokens |\n|---|---|---|---|---|")
    for pace, shape in (("live", live), ("burst", burst)):
        for cost in await measure(shape):
            print(f"| {cost.wire} | {cost.way} | {pace} | {cost.us:.1f} | {cost.tokens:,} |", flush=True)


if __name__ == "__main__":
    uvloop.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS))
