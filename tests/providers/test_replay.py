"""An answer said again from its beginning: whatever the log holds of it, only the rest is passed on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.content import Block, ContentFold
from broker.errors import ProviderError
from broker.events import (
    DELTA_TYPES,
    ContentEvent,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
)
from broker.merge import can_join, delta_text, join
from worker.providers.replay import Replay

ANSWER: list[ContentEvent] = [
    ReasoningDelta(0, "Let me "),
    ReasoningDelta(0, "think."),
    ReasoningDelta(0, "", signature="c2ln"),
    ReasoningDelta(1, "", opaque="b3Bh"),
    ToolCallStarted(2, "c1", "f"),
    ToolCallDelta(2, "c1", '{"a"'),
    ToolCallStarted(3, "c2", "g"),
    ToolCallDelta(3, "c2", '{"b"'),
    ToolCallDelta(2, "c1", ":1}"),
    ToolCallCompleted(2, "c1", "f", '{"a":1}'),
    ToolCallDelta(3, "c2", ":2}"),
    ToolCallCompleted(3, "c2", "g", '{"b":2}'),
    TextDelta(4, "aaa"),
    TextDelta(4, "aab"),
    RefusalDelta(5, "No."),
]


def blocks(events: Sequence[ContentEvent]) -> list[Block]:
    """The answer that these events make."""
    fold = ContentFold()
    for event in events:
        fold.apply(event)
    return fold.blocks()


def letters(events: Sequence[ContentEvent]) -> int:
    """How many were said in deltas."""
    return sum(len(delta_text(event)) for event in events if isinstance(event, DELTA_TYPES))


def rest(heard: Sequence[ContentEvent], again: Sequence[ContentEvent] = ANSWER) -> list[ContentEvent]:
    """What is passed on."""
    replay = Replay(heard)
    fresh = [new for event in again if (new := replay.rest(event)) is not None]
    replay.end()
    return fresh


@st.composite
def logs(draw: st.DrawFn) -> list[ContentEvent]:
    """The beginning of the answer as a log may hold it: cut anywhere, its neighbours joined in any way."""
    count = draw(st.integers(0, len(ANSWER)))
    log: list[ContentEvent] = []
    for event in ANSWER[:count]:
        if log and can_join(log[-1], event) and draw(st.booleans()):
            both: list[Any] = [log[-1], event]
            log[-1] = join(both)
        else:
            log.append(event)
    last = log[-1] if log else None
    if isinstance(last, TextDelta) and draw(st.booleans()):
        log[-1] = TextDelta(last.block, last.text[: draw(st.integers(0, len(last.text)))])
    return log


@settings(max_examples=60, deadline=None)
@given(logs())
def test_log_and_rest_are_the_answer(log: list[ContentEvent]) -> None:
    """Whatever stands, what is passed on makes it whole, and nothing is said twice."""
    fresh = rest(log)
    assert blocks([*log, *fresh]) == blocks(ANSWER)
    assert letters([*log, *fresh]) == letters(ANSWER)


@pytest.mark.parametrize(
    "heard",
    [
        [ReasoningDelta(0, "Let us")],
        [ReasoningDelta(0, "Let me think. Well")],
        [TextDelta(0, "Let me ")],
        [ReasoningDelta(0, "Let me think."), *([ReasoningDelta(0, "", signature="c2ln")] * 2)],
        [TextDelta(9, "more")],
        [ToolCallStarted(9, "c9", "h")],
    ],
)  # fmt: skip
def test_another_answer_is_none_of_ours(heard: list[ContentEvent]) -> None:
    """What does not go on from what stands may not be put behind it."""
    with pytest.raises(ProviderError) as caught:
        rest(heard)
    assert (caught.value.code, caught.value.can_retry) == ("provider_forgot", False)
