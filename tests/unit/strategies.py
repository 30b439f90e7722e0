"""Values for the properties: events of every type, and whole logs."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from broker.events import (
    Cancelled,
    Completed,
    Created,
    Entry,
    Event,
    Failed,
    ReasoningDelta,
    RefusalDelta,
    Retrying,
    Started,
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
)
from broker.position import Position
from broker.record import created_record
from broker.values import ErrorInfo, Timing, Usage

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["\n", "\r\n", "\u2028", "🙂", ""]
)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8) | st.just("call\n1")
blocks = st.integers(0, 3)
counts = st.none() | st.integers(0, 10**9)
usages = st.builds(Usage, counts, counts, counts, counts, counts)
errors = st.builds(ErrorInfo, names, texts, st.booleans(), st.none() | st.integers(400, 599))
timings = st.builds(Timing, counts, counts, counts, st.none() | st.floats(0, 1e6))
signatures = st.none() | texts

text_deltas = st.builds(TextDelta, blocks, texts)
deltas: st.SearchStrategy[Any] = st.one_of(
    text_deltas,
    st.builds(ReasoningDelta, blocks, texts, signatures, signatures),
    st.builds(RefusalDelta, blocks, texts),
    st.builds(ToolCallDelta, blocks, names, texts),
)
content: st.SearchStrategy[Any] = deltas | st.one_of(
    st.builds(ToolCallStarted, blocks, names, names), st.builds(ToolCallCompleted, blocks, names, names, st.just("{}"))
)
started = st.builds(Started, st.integers(1, 9), st.sampled_from(["restart", "continue"]), names, names)
terminals: st.SearchStrategy[Any] = st.one_of(
    st.builds(
        Completed,
        st.sampled_from(["stop", "length", "tool_calls", "content_filter", "refusal"]),
        st.none() | names,
        st.none() | names,
        st.none() | usages,
        st.none() | timings,
    ),
    st.builds(Failed, errors, st.none() | usages, st.none() | timings),
    st.builds(Cancelled, st.sampled_from(["client", "unwatched", "deadline", "deleted"]), st.none() | usages),
)


def _created(name: str, ms: int) -> Created:
    return Created(created_record(name, "demo/demo-1", ms, {}).to_dict())


created = st.builds(_created, names, st.integers(1, 10**13))
events: st.SearchStrategy[Any] = st.one_of(
    created, started, st.builds(Retrying, st.integers(1, 9), st.floats(0, 60), errors), content, terminals
)


@st.composite
def logs(draw: st.DrawFn, *, ended: bool | None = None) -> list[Entry]:
    """A log: dense, epochs that only grow, each new one with a start; perhaps a terminal event."""
    found: list[Event] = [draw(created)]
    epochs = [1000]
    epoch = 1000
    for _ in range(draw(st.integers(1, 3))):
        epoch += draw(st.integers(1, 50))
        part: list[Event] = [draw(started), *draw(st.lists(content, max_size=8))]
        found += part
        epochs += [epoch] * len(part)
    if ended or (ended is None and draw(st.booleans())):
        found.append(draw(terminals))
        epochs.append(epoch)
    return [Entry(Position(e, n), event) for n, (e, event) in enumerate(zip(epochs, found, strict=True), 1)]


SAMPLES: list[Event] = [
    Created({}),
    Started(1, "restart", "demo", "demo-1"),
    Retrying(1, 0.5, ErrorInfo("provider_rate_limited", "slow down")),
    TextDelta(0, "x"),
    ReasoningDelta(0, "x"),
    RefusalDelta(0, "x"),
    ToolCallStarted(0, "c", "f"),
    ToolCallDelta(0, "c", "{"),
    ToolCallCompleted(0, "c", "f", "{}"),
    Completed("stop"),
    Failed(ErrorInfo("provider_error", "no")),
    Cancelled("client"),
]
"""One event of each type."""
