"""The exact bytes of each format, one file each; ``make golden`` rewrites them, and the diff is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from api.formats import FORMATS, FormatName
from broker.events import (
    Completed,
    Created,
    Entry,
    Event,
    ReasoningDelta,
    Retrying,
    Started,
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
)
from broker.position import Position
from broker.record import created_record
from broker.tail_items import Batch, Live, Reset, TailItem
from broker.values import ErrorInfo, Timing, Usage

pytestmark = pytest.mark.golden

FILES = Path(__file__).resolve().parents[1] / "goldens"
CREATED_MS = 1_795_000_000_123

EVENTS: list[Event] = [
    Created(created_record("gen_0Vb0000000000000000000000000", "demo/demo-1", CREATED_MS, {"chat": "7"}).to_dict()),
    Started(1, "restart", "demo", "demo-1"),
    Retrying(1, 0.5, ErrorInfo("provider_rate_limited", "slow down", retryable=True, provider_status=429)),
    ReasoningDelta(0, "thinking", signature="c2ln"),
    ReasoningDelta(0, "", opaque="b3BhcXVl"),
    TextDelta(1, "Two\nlines, a\rreturn, \u2028 and 🙂"),
    TextDelta(1, " joined", merged=3),
    ToolCallStarted(2, "call_1", "get_weather"),
    ToolCallDelta(2, "call_1", '{"city":'),
    ToolCallCompleted(2, "call_1", "get_weather", '{"city":"Paris"}'),
    Completed("tool_calls", "tool_use", None, Usage(3, 9, 1, None, 2), Timing(1, 5, 40, 257.14)),
]


def items() -> list[TailItem]:
    """A reader's whole way: reset, replay, live."""
    seqs = [1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 13]
    entries = [
        Entry(Position(CREATED_MS + (n > 0), seq), e) for n, (seq, e) in enumerate(zip(seqs, EVENTS, strict=True))
    ]
    return [Reset("position_not_in_log"), Batch(entries[:7], live=False), Live(), Batch(entries[7:], live=True)]


@pytest.mark.parametrize("name", ["native", "ndjson", "text"])
def test_the_bytes_are_what_they_were(name: FormatName) -> None:
    """A change of a format is a change of a file that somebody reads."""
    fmt = FORMATS[name]()
    body = fmt.preamble(1000) + b"".join(frame for item in items() for frame in fmt.frames(item)) + fmt.heartbeat
    path = FILES / f"out_{name}.txt"
    if os.environ.get("REGOLD"):  # noqa: TID251 - the suite's own switch
        path.write_bytes(body)
    assert path.read_bytes() == body
