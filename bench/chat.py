"""What a token costs on its way through us as OpenAI's chat completions: ``python -m bench.chat [rounds]``.

Many answers at once come from a provider on the loopback, each token in a packet of its own with the time of its
sending in it. The same load generator reads them straight from the provider, through a node, a worker and a server of
their own, and through LiteLLM's proxy, in turn within a round. What asking and ending cost is not in the figures:
answers are held after their first token until all are there, and the account ends with the last one. A run that loses,
doubles or reorders a token is void.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx2

from bench import chat_replay
from bench.chat_ways import ChatWay, straight, through_litellm, through_us
from bench.child import ChildFailed
from bench.fake_answers import Ask, Count
from bench.fake_provider import FakeProvider, fake_provider
from bench.load_generator import Unsound, hold, judged
from bench.machine import settle
from bench.measure import Row
from bench.peers.install import litellm_missing
from bench.scale import Scale
from bench.ttft import NotWhole, ask

STREAMS = 20
RATE = 50.0
SECONDS = 6.0
WARM_ASKS = 30
TICK_S = 0.000_25
"""Of the provider: how late it may be with a token."""
LATE_MS = 2.0
FULL_SHARE = 0.85
WAITED_SHARE = 0.25
LATE_S = 20.0


@dataclass(frozen=True, slots=True)
class Cost:
    """One way in one round."""

    name: str
    report: Mapping[str, Any]
    """The load generator's."""
    cpu_us: Mapping[str, float]
    """Microseconds of each process in all."""
    provider: Count
    waited: float = 0.0
    """Of the time, in which its processes were ready and something else, or one of them, had their core."""

    def ms(self, share: str) -> float:
        """Provider's sending → client's reading, at a percentile of the load generator's."""
        return self.report["latency"][share] / 1e6

    def us(self, *names: str) -> float:
        """Microseconds of CPU per token, of these processes or of all."""
        used = [each for name, each in self.cpu_us.items() if not names or name.split()[0] in names]
        return sum(used) / self.report["tokens"]

    @property
    def share(self) -> float:
        """Of the servers' core: what stands on it."""
        return sum(us for name, us in self.cpu_us.items() if name != "redis") * 1e3 / self.report["wall_ns"]

    @property
    def note(self) -> str:
        """What a reader of the figures has to know."""
        said: list[str] = []
        if self.share > FULL_SHARE:
            said.append(f"it had {self.share:.0%} of its core")
        if self.waited > WAITED_SHARE:
            said.append(f"it waited for its core for {self.waited:.0%} of the time")
        if self.provider.late_ms > LATE_MS:
            said.append(f"the provider was late: p99 {self.provider.late_ms:.1f} ms")
        return ", ".join(said)


async def cost(way: ChatWay, provider: FakeProvider, streams: int, tokens: int, rate: float) -> Cost:
    """So many answers at once. Raises :class:`bench.load_generator.Unsound`, :class:`bench.ttft.NotWhole`."""
    await provider.forget()
    wanted = [Ask(f"{n}", tokens, rate, held=True, stamped=True) for n in range(streams)]
    async with hold(way.port, [way.viewer(each) for each in wanted], ids=False) as load:
        judged(await load.until(1, LATE_S))
        before, waited = await way.cpu_us(), way.waited_ns()
        await load.begin(tokens, tokens / rate + LATE_S)
        await provider.go()
        report = judged(await load.result())
        after, waited = await way.cpu_us(), way.waited_ns() - waited
        told = await provider.count()
    # Each but the first token of an answer, which was there before the account began.
    if report["tokens"] != streams * (tokens - 1) or (told.asked, told.cut) != (streams, 0):
        raise NotWhole(f"{way.name}: {report['tokens']} tokens of {told}")
    used = {name: after[name] - before[name] for name in after}
    return Cost(way.name, report, used, told, waited / report["wall_ns"])


@dataclass(frozen=True, slots=True)
class Size:
    """How much of it: answers at once and their tokens, asks that warm up, and what is read again."""

    streams: int = STREAMS
    tokens: int = int(SECONDS * RATE)
    warm: int = WARM_ASKS
    replayed: int = chat_replay.TOKENS
    logs: int = chat_replay.LOGS
    proxy: bool = True
    """With LiteLLM, where it is installed."""


SMOKE = Size(2, 5, 1, 50, 1, proxy=False)


async def measure(size: Size) -> list[Row]:
    """All ways in turn. Raises what :func:`cost` raises, and :class:`bench.child.ChildFailed`, but not for a peer."""
    keys = map(str, itertools.count())

    async def measured(way: ChatWay) -> Cost:
        # Read to its end by another client, which sees that an answer is whole and ends as OpenAI's do.
        for _ in range(size.warm):
            await ask(http, way.way(), next(keys))
        return await cost(way, provider, size.streams, size.tokens, RATE)

    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(fake_provider(TICK_S))
        ways = [straight(provider), *await stack.enter_async_context(through_us(provider))]
        http = await stack.enter_async_context(httpx2.AsyncClient(timeout=LATE_S))
        costs = [await measured(way) for way in ways]
        replays = await chat_replay.measure(ways[1], http, size.replayed, size.logs)
        rows = chat_replay.rows_of(replays)
        if size.proxy and litellm_missing() is None:
            try:
                costs.append(await measured(await stack.enter_async_context(through_litellm(provider))))
            except (Unsound, NotWhole, ChildFailed, httpx2.HTTPError, TimeoutError) as error:
                # Somebody else's server that fails must not cost the rest of the run.
                rows.append(Row("chat.run", "litellm", None, f"failed: {type(error).__name__}: {error}"))
        return rows_of(costs) + rows


def rows_of(costs: list[Cost]) -> list[Row]:
    """One round; what is added is the difference to the direct way of the same round."""
    direct = costs[0]
    rows: list[Row] = []
    for each in costs:
        raw = {"load": each.report, "cpu_us": each.cpu_us, "late_ms": each.provider.late_ms}
        rows.append(Row("chat.p50_ms", each.name, each.ms("p50"), each.note, raw))
        rows.append(Row("chat.p99_ms", each.name, each.ms("p99")))
        if each is direct:
            continue
        rows.append(Row("chat.added_p50_ms", each.name, each.ms("p50") - direct.ms("p50")))
        rows.append(Row("chat.added_p99_ms", each.name, each.ms("p99") - direct.ms("p99")))
        rows.append(Row("chat.token_us", each.name, each.us()))
        rows.append(Row("chat.core_share", each.name, each.share))
        rows.append(Row("chat.chunks_per_token", each.name, each.report["frames"] / each.report["tokens"]))
        parts = [name for name in ("node", "worker", "redis") if name in each.cpu_us]
        rows += [Row(f"chat.{name}_us", each.name, each.us(name)) for name in parts]
    return rows


async def run(scale: Scale) -> list[Row]:
    """Rows of the core table."""
    return await measure(SMOKE if scale.smoke else Size(tokens=int(scale.seconds(SECONDS) * RATE)))


async def main(rounds: int) -> None:
    """Print the rows."""
    for _ in range(rounds):
        for row in await measure(Size()):
            value = "-" if row.value is None else f"{row.value:.2f}"
            print(f"{row.metric:30} {row.system:12} {value:>8}  {row.note}", flush=True)


if __name__ == "__main__":
    settle()
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1))
