"""A loopback provider that speaks OpenAI's chat completions, as cheap as Python makes it.

What a call is answered stands in its prompt: the last message is an :class:`Ask` as JSON. The first token is
``key@ns@``, with ``ns`` the CLOCK_MONOTONIC at which it was sent, and leaves with the head of the answer as soon as the
request is there; token ``n`` of the others is `` n``. Who wants it has such a stamp in each.
The first part of the path is the caller's name.

It is spoken to in lines of JSON: ``"count"`` is answered with a :class:`Count`, ``"book"`` with all calls so far, each
``[key, caller, ns]``. ``"forget"`` and ``"go"`` are answered like ``"count"``: with the first the book begins anew,
with the second the answers that are held go on, evenly spread.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import msgspec

from bench.child import Child, start
from bench.fake_answers import END, HEAD, Ask, Call, Count, stamped, token
from bench.stats import percentile
from bench.ticks import Ticks
from broker.garbage import look_rarely
from rejoinder.ports import LOOPBACK

NAME = "bench"
"""Of the provider in the settings of whoever asks it."""
ANSWER_S = 10.0
TICK_S = 0.002
"""How often it looks for what is due, unless told otherwise: each time costs it some processor."""


@dataclass(slots=True)
class Answer:
    """One that is being given; ``said`` tokens of it so far."""

    ask: Ask
    transport: asyncio.Transport
    begun_ns: int
    said: int = 1
    gone: bool = False

    @property
    def due_ns(self) -> int:
        """When the next token should leave."""
        return self.begun_ns + int(self.said * 1e9 / self.ask.rate)


class Provider:
    """All its answers, and the book of its calls."""

    def __init__(self) -> None:
        self._due: list[tuple[int, int, Answer]] = []
        self._held: list[Answer] = []
        self._frames: list[bytes] = [b""]
        self.forget()

    def forget(self) -> None:
        """Count anew; answers that are being given go on."""
        self.calls: list[Call] = []
        self.ended = self.cut = self.tokens = 0
        self._late_ns: list[float] = []

    def begin(self, caller: str, ask: Ask, transport: asyncio.Transport) -> Answer | None:
        """Say the first token, and all of them where no rate is asked for; ``None``: that was the whole answer."""
        now = time.monotonic_ns()
        self.calls.append(Call(ask.key, caller, now))
        first = HEAD + (stamped(1, now) if ask.stamped else token(f"{ask.key}@{now}@"))
        self.tokens += 1
        while len(self._frames) < ask.tokens:
            self._frames.append(token(f" {len(self._frames)}"))
        if ask.rate and ask.tokens > 1:
            transport.write(first)
            answer = Answer(ask, transport, now)
            if ask.held:
                self._held.append(answer)
            else:
                heapq.heappush(self._due, (answer.due_ns, len(self.calls), answer))
            return answer
        rest = [stamped(n, now) for n in range(2, ask.tokens + 1)] if ask.stamped else self._frames[1 : ask.tokens]
        transport.write(first + b"".join(rest) + END)
        self.tokens += ask.tokens - 1
        self.ended += 1
        return None

    def go(self) -> None:
        """Go on with what is held."""
        now, held = time.monotonic_ns(), self._held
        for number, answer in enumerate(held):
            answer.begun_ns = now + int(number / len(held) * 1e9 / answer.ask.rate)
            heapq.heappush(self._due, (answer.due_ns, number, answer))
        self._held = []

    def leave(self, answer: Answer) -> None:
        """Its caller has hung up."""
        if not answer.gone:
            answer.gone = True
            self.cut += 1

    async def run(self, tick_s: float = TICK_S) -> None:
        """Say what is due, until cancelled."""
        async with Ticks(tick_s) as ticks:
            while True:
                now = time.monotonic_ns()
                while self._due and self._due[0][0] <= now:
                    due, number, answer = heapq.heappop(self._due)
                    if not answer.gone:
                        self._late_ns.append(now - due)
                        self._say(answer, number)
                await ticks.next()

    def _say(self, answer: Answer, number: int) -> None:
        data = self._frames[answer.said]
        answer.said += 1
        if answer.ask.stamped:
            data = stamped(answer.said, time.monotonic_ns())
        self.tokens += 1
        if answer.said < answer.ask.tokens:
            heapq.heappush(self._due, (answer.due_ns, number, answer))
        else:
            data += END
            answer.gone = True
            self.ended += 1
        answer.transport.write(data)

    def count(self) -> Count:
        """How it stands."""
        asked = len(self.calls)
        late = percentile(self._late_ns, 0.99) / 1e6 if self._late_ns else 0.0
        return Count(asked, asked - self.ended - self.cut, self.ended, self.cut, self.tokens, late)


class Connection(asyncio.Protocol):
    """One caller's, kept alive: a request at a time."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._heard = b""
        self._answer: Answer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody is there."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer a request that is whole."""
        self._heard += data
        head, end, body = self._heard.partition(b"\r\n\r\n")
        if not end:
            return
        words = [line.partition(b":") for line in head.lower().split(b"\r\n")]
        size = next(int(value) for name, _, value in words if name == b"content-length")
        if len(body) < size:
            return
        self._heard = body[size:]
        caller = head.split(b" ", 2)[1].split(b"/")[1].decode()
        ask = msgspec.json.decode(json.loads(body[:size])["messages"][-1]["content"], type=Ask)
        self._answer = self._provider.begin(caller, ask, self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """They have gone."""
        del exc
        if self._answer is not None:
            self._provider.leave(self._answer)


class FakeProvider:
    """One that runs as a process; made by :func:`fake_provider`."""

    def __init__(self, child: Child, port: int) -> None:
        self._child = child
        self.port = port

    def url(self, caller: str) -> str:
        """What ``caller`` is to be given as the provider's base URL."""
        return f"http://{LOOPBACK}:{self.port}/{caller}/v1"

    def config(self, folder: Path, caller: str) -> str:
        """The path of a fresh file for ``REJOINDER_CONFIG`` with this provider in it, as :data:`NAME`."""
        path = folder / f"{caller}.toml"
        path.write_text(f'[providers.{NAME}]\nbase_url = "{self.url(caller)}"\n')
        return str(path)

    async def count(self) -> Count:
        """How it stands."""
        return msgspec.convert(await self._asked("count"), Count)

    async def forget(self) -> Count:
        """How it stood; from here on it counts anew."""
        return msgspec.convert(await self._asked("forget"), Count)

    async def go(self) -> Count:
        """How it stood when it let go on what is held."""
        return msgspec.convert(await self._asked("go"), Count)

    async def book(self) -> Sequence[Call]:
        """Every call since the last :meth:`forget`, in order."""
        return msgspec.convert((await self._asked("book"))["calls"], list[Call])

    async def _asked(self, word: str) -> dict[str, object]:
        await self._child.say(json.dumps(word))
        return await self._child.hear(ANSWER_S)


@asynccontextmanager
async def fake_provider(tick_s: float = TICK_S) -> AsyncGenerator[FakeProvider]:
    """A process on the other core, until the end of the block."""
    command = (sys.executable, "-m", "bench.fake_provider", str(tick_s))
    async with start("provider", command, talks=True) as child:
        yield FakeProvider(child, int((await child.hear(ANSWER_S))["port"]))


async def serve(tick_s: float) -> None:
    """Obey standard input until its end."""
    loop = asyncio.get_running_loop()
    provider = Provider()
    server = await loop.create_server(lambda: Connection(provider), LOOPBACK, 0, backlog=4096)
    speaking = loop.create_task(provider.run(tick_s))
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    while line := await reader.readline():
        word = json.loads(line)
        said = {"calls": provider.calls} if word == "book" else provider.count()
        if word == "forget":
            provider.forget()
        if word == "go":
            provider.go()
        print(msgspec.json.encode(said).decode(), flush=True)
    speaking.cancel()
    server.close()


if __name__ == "__main__":
    import uvloop

    look_rarely()
    uvloop.run(serve(float(sys.argv[1])))
