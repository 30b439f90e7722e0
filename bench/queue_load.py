"""The queue and its workers under load, and at rest: ``python -m bench.queue_load [busy|drained|idle …]``.

Busy: many generations at once on one worker, each a stream of a provider on the loopback. Drained: a queue that grew
while no worker ran, and two workers that empty it. Idle: what a worker and a node take while nothing is asked of them.
Every answer is looked at, and the provider's book says who asked for it and how often: a run in which one is lost,
doubled or not whole raises.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import uvloop

from bench.fake_answers import Ask, Call
from bench.machine import cpu_ns, parse_status_kib, settle, waited_ns
from bench.measure import Row
from bench.queue_idle import idle
from bench.queue_stage import Stage, Void, stage
from bench.scale import Scale
from bench.stats import percentile

BUSY, RATE, SECONDS = 1000, 20.0, 10.0
QUEUED, SHORT, MAX_JOBS = 5000, 5, 50
WORKERS = ("first", "second")
START_S = 60.0
DRAIN_S = 90.0
SETTLE_S = 0.5
"""From the last call's arrival until its first token is written."""
_STEADY = 0.8
"""Of the time in which none has ended."""
FULL = 0.95
"""Share of its core past which a worker is what the tokens wait for."""
WAITED = 0.1
"""Share of the time past which something else had its core, and times say little."""


async def warm(here: Stage, names: Sequence[str]) -> None:
    """One generation for each worker that runs: its first call imports the provider's client, which is no load."""
    await here.settled(await here.submit([Ask(f"warm {name}", 2) for name in names]), START_S)
    await here.provider.forget()


async def busy(count: int = BUSY, rate: float = RATE, seconds: float = SECONDS) -> list[Row]:
    """``count`` generations at once on one worker, ``rate`` tokens/s each. Raises :class:`Void`.

    The provider holds its answers after the first token until all of them run: that starts are slow must not make the
    load of tokens less, nor the other way round.
    """
    said, clock = int(rate * seconds), time.monotonic_ns
    async with stage() as here, here.worker("worker", count) as worker:
        await warm(here, ["worker"])
        idle_cpu = cpu_ns(worker.pid)
        asks = await here.submit([Ask(str(number), said + 1, rate, held=True) for number in range(count)])
        submitted = clock()
        await here.until(lambda now: now.asked == count, f"all {count} running", START_S)
        running = max(call.ns for call in await here.provider.book())
        await asyncio.sleep(SETTLE_S)
        begun_cpu, begun_wait, begun = cpu_ns(worker.pid), waited_ns(worker.pid), clock()
        await here.provider.go()
        await asyncio.sleep(seconds * _STEADY)
        wall, rss_kib = clock() - begun, resident_kib(worker.pid)
        share, waited = (cpu_ns(worker.pid) - begun_cpu) / wall, (waited_ns(worker.pid) - begun_wait) / wall
        behind_ms = (await here.settled(asks, seconds * 5 + 10) - begun) / 1e6 - (seconds + 1 / rate) * 1e3
        end_cpu, total = cpu_ns(worker.pid), await here.provider.count()
    note = f"its worker waited for its core {waited:.0%} of the time" if waited > WAITED else ""
    note = "the worker's core was full: tokens waited for it" if share > FULL else note
    raw = {"tokens": count * said, "provider_late_p99_ms": total.late_ms, "waited_share": waited}
    return [
        Row("queue_load.running_ms", "ours", (running - submitted) / 1e6),
        Row("queue_load.start_cpu_ms", "ours", (begun_cpu - idle_cpu) / 1e6 / count),
        Row("queue_load.token_us", "ours", (end_cpu - begun_cpu) / 1e3 / (count * said), note, raw),
        Row("queue_load.worker_share", "ours", share, note),
        Row("queue_load.behind_ms", "ours", behind_ms, note),
        Row("queue_load.worker_mb", "ours", rss_kib / 1024),
    ]


def resident_kib(pid: int) -> int:
    """Memory of a process, KiB."""
    return parse_status_kib(Path(f"/proc/{pid}/status").read_text(), "VmRSS")


def displacements(queued: Sequence[str], calls: Sequence[Call]) -> list[float]:
    """How many places each call stands from its place in the queue. Raises ``KeyError`` for one that is not there."""
    place = {key: number for number, key in enumerate(queued)}
    return [float(abs(place[call.key] - number)) for number, call in enumerate(calls)]


def shares(calls: Sequence[Call]) -> dict[str, float]:
    """Of each caller, from the moment at which all of them were there."""
    seen = {call.caller for call in calls}
    firsts = [next(n for n, call in enumerate(calls) if call.caller == name) for name in seen]
    both = calls[max(firsts) :]
    counts = Counter(call.caller for call in both)
    return {name: counts[name] / len(both) for name in sorted(seen)}


async def drained(count: int = QUEUED, max_jobs: int = MAX_JOBS) -> list[Row]:
    """``count`` short generations queued while nobody works, then two workers. Raises :class:`Void`."""
    async with stage() as here:
        asks = await here.submit([Ask(str(number), SHORT) for number in range(count)])
        order = [asks[name].key for name in await here.queued()]
        if len(order) != count:
            raise Void(f"{len(order)} of {count} stand in the queue")
        async with here.worker(WORKERS[0], max_jobs) as first, here.worker(WORKERS[1], max_jobs) as second:
            await here.until(lambda now: now.asked > 0, "begun", START_S)
            begun_cpu = sum(cpu_ns(worker.pid) for worker in (first, second))
            ended_ns = await here.settled(asks, DRAIN_S)
            spent = sum(cpu_ns(worker.pid) for worker in (first, second)) - begun_cpu
            calls = await here.provider.book()
    by_worker = shares(calls)
    least = min(by_worker.values()) if len(by_worker) == len(WORKERS) else 0.0
    away = displacements(order, calls)
    return [
        Row("queue_load.drain_per_s", "ours", count / ((ended_ns - calls[0].ns) / 1e9)),
        Row("queue_load.drain_cpu_ms", "ours", spent / 1e6 / count),
        Row("queue_load.least_share", "ours", least, raw={"shares": by_worker}),
        Row("queue_load.displaced_p50", "ours", percentile(away, 0.5)),
        Row("queue_load.displaced_p99", "ours", percentile(away, 0.99)),
        Row("queue_load.displaced_max", "ours", max(away)),
    ]


async def run(scale: Scale) -> list[Row]:
    """Rows of the core table. Raises :class:`Void`."""
    if scale.smoke:
        busy_rows, drained_rows, idle_rows = await asyncio.gather(busy(10, 20.0, 0.2), drained(40, 5), idle(0.2))
    else:
        busy_rows = await busy(seconds=max(scale.seconds(SECONDS), 4.0))
        drained_rows, idle_rows = await drained(), await idle(scale.seconds(5.0))
    return [*busy_rows, *drained_rows, *idle_rows]


async def main(wanted: Sequence[str]) -> None:
    """Print the rows."""
    parts = {"busy": busy, "drained": drained, "idle": idle}
    for name in wanted or parts:
        begun = time.monotonic()
        for row in await parts[name]():
            print(f"{row.metric:32} {row.value:10.2f}  {row.note} {row.raw or ''}")
        print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    settle()
    uvloop.run(main(sys.argv[1:]))
