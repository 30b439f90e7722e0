"""What the same work costs a process that has slept before it: ``python -m bench.rested``.

The work is a worker's for one token of a provider's: splitting, decoding and mapping its chunk, with no socket and no
loop around it. At a low load a worker does little else between two sleeps, and pays for each what this shows.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import msgspec

from bench.machine import cores, settle
from worker.providers.blocks import Blocks
from worker.providers.failures import Upstream
from worker.providers.openai_chat_map import ChatState, events_from_chunk
from worker.providers.sse import EventReader, load

CHUNK = {"id": "c", "choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": None}]}
FRAME = b"data: %s\n\n" % msgspec.json.encode(CHUNK)
WARM = 2000
WAYS = ((0.0, 1), (0.001, 1), (0.02, 1), (0.02, 8), (0.02, 50))
"""Seconds of sleep, and tokens after each."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of processor time for each token, after so many milliseconds of sleep and so many at a time."""

    slept_ms: float
    at_once: int
    us: float


def cost(sleep_s: float, at_once: int, tokens: int) -> Cost:
    """Of ``tokens`` in all, at least."""
    reader, state = EventReader(), ChatState(Upstream("bench", None), Blocks([]), salt="bench")

    def hear(count: int) -> None:
        for _ in range(count):
            for data in reader.feed(FRAME):
                events_from_chunk(load(data), state)

    hear(WARM)
    spent, times = 0, -(-tokens // at_once)
    for _ in range(times):
        if sleep_s:
            time.sleep(sleep_s)
        before = time.process_time_ns()
        hear(at_once)
        spent += time.process_time_ns() - before
    return Cost(sleep_s * 1000, at_once, spent / (times * at_once) / 1000)


def main(tokens: int = 400) -> list[Cost]:
    """Print and answer them."""
    costs = [cost(sleep_s, at_once, tokens if sleep_s else 50 * tokens) for sleep_s, at_once in WAYS]
    for each in costs:
        print(
            f"after {each.slept_ms:3g} ms of sleep, {each.at_once:2} at a time: {each.us:6.1f} µs a token", flush=True
        )
    return costs


if __name__ == "__main__":
    settle()
    print(f"core {cores()[1]}")
    main()
