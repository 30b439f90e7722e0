"""The bench's provider says what its name promises, in both vendors' words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bench.scale import FULL, SMOKE
from bench.sdk import Cost, rows_of, shape_of
from bench.sdk_provider import chat, messages, text
from broker.events import TextDelta
from worker.providers.anthropic_map import MessageState, events_from_message
from worker.providers.anthropic_map import events_at_end as message_end
from worker.providers.base import Finish
from worker.providers.blocks import Blocks
from worker.providers.failures import Upstream
from worker.providers.openai_chat_map import ChatState, events_from_chunk
from worker.providers.openai_chat_map import events_at_end as chat_end
from worker.providers.sse import EventReader, load

UPSTREAM = Upstream("bench")


@pytest.mark.parametrize(
    ("wire", "state", "read", "at_end"),
    [
        (chat(1500), ChatState(UPSTREAM, Blocks([]), "salt"), events_from_chunk, chat_end),
        (messages(1500), MessageState(UPSTREAM, Blocks([])), events_from_message, message_end),
    ],
)
def test_the_whole_answer_is_said(
    wire: Any, state: Any, read: Callable[..., list[Any]], at_end: Callable[..., list[Any]]
) -> None:
    """Every word, each in an event of its own, and its end."""
    events = [data for data in EventReader().feed(b"".join(wire)) if data != b"[DONE]"]
    items = [item for data in events for item in read(load(data), state)]
    said = [item.text for item in items if isinstance(item, TextDelta)]
    assert ("".join(said), len(said)) == (text(1500), 1500)
    assert isinstance(at_end(state)[-1], Finish)


def test_a_smoke_run_is_small() -> None:
    """It touches everything and takes no time; a full run is long enough to count."""
    small, full = shape_of(SMOKE), shape_of(FULL)
    assert small.streams * small.tokens <= 20
    assert full.streams * full.tokens >= 2000


def test_ways_become_systems() -> None:
    """The SDK's own way is the naive one; a way that nobody would choose is no row."""
    ways = ("floor", "SDK, typed", "SDK, untyped", "ours", "worker")
    rows = rows_of([Cost("openai", way, float(us), 10) for us, way in enumerate(ways)])
    assert [(row.metric, row.system, row.value) for row in rows] == [
        ("sdk.openai_us", "floor", 0.0),
        ("sdk.openai_us", "naive", 1.0),
        ("sdk.openai_us", "ours", 3.0),
        ("sdk.worker_us", "ours", 4.0),
    ]
