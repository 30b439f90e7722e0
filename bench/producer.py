"""``python -m bench.producer``: publishes stamped tokens at a rate, in a process of its own.

Standard input: first one JSON object ``{"make", "args", "streams"}`` (see :class:`bench.systems.Publishing`), answered
by ``{"ready": true}``; then one ``{"count", "rate", "words"}`` per run, answered by a report of how punctual it was.
Token ``k`` of stream ``i`` of ``n`` is due at ``(k + i/n) / rate``: streams are spread evenly over a tick.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from importlib import import_module
from typing import Any

from bench.machine import settle
from bench.stats import percentile
from bench.systems import Publisher, Stream
from bench.ticks import Ticks

WAKE_S = 0.00025
"""How finely the producer keeps time: what is due within one of these leaves in one write. With a millisecond, the
last of twenty tokens waits for nineteen appends, and latencies tell more of the producer than of the system."""
FLAT_OUT = 500
"""Tokens in flight at once when there is no rate."""


class Schedule:
    """Which tokens are due: pure."""

    def __init__(self, streams: int, count: int, rate: float) -> None:
        self._streams = streams
        self._total = streams * count
        self._rate = rate
        self.done = 0
        """Tokens handed out, in the order they are due."""

    @property
    def finished(self) -> bool:
        """Whether all were handed out."""
        return self.done >= self._total

    def due_s(self, index: int) -> float:
        """When the token with this index is due, in seconds from the beginning."""
        return index / self._streams / self._rate

    def take(self, elapsed_s: float) -> range:
        """Indexes of the tokens that have become due."""
        first = self.done
        self.done = min(self._total, math.floor(elapsed_s * self._rate * self._streams + 1e-9) + 1)
        return range(first, max(first, self.done))


class Producer:
    """Publishes on all streams; numbers go on from run to run."""

    def __init__(self, publisher: Publisher, streams: int) -> None:
        self._publisher = publisher
        self._streams = streams
        self._next = 1

    async def run(self, count: int, rate: float, words: list[str]) -> dict[str, Any]:
        """``count`` tokens per stream at ``rate`` tokens/s per stream (0 = flat out): how long, how late.

        ``words``: what to say instead of marks, flat out only; nobody can check these.
        """
        begun = time.monotonic_ns()
        cpu = time.process_time_ns()
        late = await (self._at_rate(count, rate, begun) if rate else self._flat_out(count, words))
        published = time.monotonic_ns() - begun
        await self._publisher.settle()
        self._next += count
        return {
            "tokens": count * self._streams,
            "published_ns": published,
            "settled_ns": time.monotonic_ns() - begun,
            "cpu_ns": time.process_time_ns() - cpu,
            "late_p99_ns": int(percentile(late, 0.99)),
            "late_max_ns": int(max(late)),
        }

    async def _at_rate(self, count: int, rate: float, begun: int) -> list[float]:
        schedule = Schedule(self._streams, count, rate)
        late: list[float] = []
        publish, streams, first = self._publisher.publish, self._streams, self._next
        async with Ticks(WAKE_S) as ticks:
            while not schedule.finished:
                now = time.monotonic_ns()
                due = schedule.take((now - begun) / 1e9)
                if due:
                    late.append(now - begun - schedule.due_s(due.start) * 1e9)
                for index in due:
                    number = first + index // streams
                    publish(index % streams, number, b"#%d@%d@" % (number, time.monotonic_ns()))
                self._publisher.flush()
                await ticks.next()
        return late

    async def _flat_out(self, count: int, words: list[str]) -> list[float]:
        """Nobody times these: the stamp is 0, so that tokens are about as long as a model's."""
        texts = [word.encode() for word in words]
        in_flight = 0
        for number in range(self._next, self._next + count):
            text = texts[number % len(texts)] if texts else b"#%d@0@" % number
            for stream in range(self._streams):
                self._publisher.publish(stream, number, text)
                in_flight += 1
                if in_flight >= FLAT_OUT:
                    self._publisher.flush()
                    await self._publisher.settle()
                    in_flight = 0
        self._publisher.flush()
        return [0.0]


async def serve() -> None:
    """Obey standard input until its end."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=64 * 2**20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    told = json.loads(await reader.readline())
    module, _, function = str(told["make"]).partition(":")
    streams = [Stream(stream["name"], stream["data"]) for stream in told["streams"]]
    publisher: Publisher = getattr(import_module(module), function)(told["args"], streams)
    await publisher.open()
    producer = Producer(publisher, len(streams))
    print(json.dumps({"ready": True}), flush=True)
    while line := await reader.readline():
        wanted = json.loads(line)
        report = await producer.run(wanted["count"], wanted["rate"], wanted["words"])
        print(json.dumps(report), flush=True)
    await publisher.close()


def main() -> None:
    """Run on uvloop: half the CPU of asyncio's own loop."""
    import uvloop  # noqa: PLC0415 - not on every system that imports the pure parts

    settle()
    uvloop.run(serve())


if __name__ == "__main__":
    main()
