"""How long the batcher may hold what it was given: a model of its caller's clock, against every strategy."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from broker.events import (
    DELTA_TYPES,
    ContentEvent,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    encode_entry,
)
from broker.merge import MERGE_LIMIT, delta_text
from tests.contracts.histories import wicked
from worker.batcher import HOLD_S, Batcher, Strategy
from worker.providers.surrogates import SurrogateJoiner

strategies: st.SearchStrategy[Strategy] = st.sampled_from(["none", "time", "word", "line", "sentence"])
windows = st.sampled_from([0.0, 0.02, 0.5])
said = st.sampled_from([*wicked, "word", "end. ", "a b", "。", "x" * 3000]).filter(bool)
events: st.SearchStrategy[ContentEvent] = st.one_of(
    st.builds(TextDelta, st.integers(0, 1), said),
    st.builds(TextDelta, st.just(0), said),
    st.builds(ReasoningDelta, st.just(2), said, st.none() | st.just("signed")),
    st.builds(RefusalDelta, st.just(3), said),
    st.builds(ToolCallDelta, st.just(4), st.just("c"), said),
    st.just(ToolCallStarted(4, "c", "f")),
)
ROUNDING_S = 1e-6
"""Moments are told in seconds, as floats, and ends of windows are whole milliseconds."""
gaps = st.sampled_from([0.0, 0.001, 0.015, 0.3, 2.0])


@dataclass
class Caller:
    """What the writer does: it pushes what comes and flushes when that is due."""

    batcher: Batcher
    now: float = 0.0
    out: list[ContentEvent] = field(default_factory=list[ContentEvent])
    waiting: deque[tuple[int, float]] = field(default_factory=deque[tuple[int, float]])
    """Of what has not come out: how many characters, and until when they may wait."""

    def push(self, event: ContentEvent, gap: float, bound: float) -> list[ContentEvent]:
        """The next event comes after ``gap`` seconds; ``bound`` = how long it may wait."""
        self.pass_to(self.now + gap)
        if isinstance(event, DELTA_TYPES):
            self.waiting.append((len(delta_text(event)), self.now + bound))
        ready = self.batcher.push(event, self.now)
        self._take(ready)
        return ready

    def pass_to(self, until: float) -> None:
        """Let the clock come so far, and flush when that falls due on the way."""
        due = self.batcher.due_at
        if due is not None and due <= until:
            self.now = max(due, self.now)
            self._take(self.batcher.flush())
        self.now = until

    def _take(self, ready: list[ContentEvent]) -> None:
        self.out += ready
        for event in ready:
            left = len(delta_text(event)) if isinstance(event, DELTA_TYPES) else 0
            while left:
                size, until = self.waiting.popleft()
                assert self.now <= until + ROUNDING_S
                if size > left:
                    self.waiting.appendleft((size - left, until))
                left -= min(size, left)
        assert (self.batcher.due_at is None) == (not self.waiting)
        if self.waiting:
            assert self.batcher.due_at is not None
            assert self.batcher.due_at <= self.waiting[0][1] + ROUNDING_S


def bound_of(event: ContentEvent, strategy: Strategy, window_s: float) -> float:
    """How long this may be held."""
    if strategy == "none":
        return 0.0
    return window_s if strategy == "time" or not isinstance(event, TextDelta) else HOLD_S


@given(st.lists(st.tuples(events, gaps), max_size=25), strategies, windows, st.sampled_from([0.0, 0.5]))
def test_nothing_is_held_longer_than_promised(
    script: list[tuple[ContentEvent, float]], strategy: Strategy, window_s: float, phase: float
) -> None:
    """Text for the window or a second, everything else for the window; and nothing waits without a time."""
    caller = Caller(Batcher(strategy, window_s, phase=phase))
    for event, gap in script:
        ready = caller.push(event, gap, bound_of(event, strategy, window_s))
        if not isinstance(event, DELTA_TYPES):
            assert ready[-1] is event
            assert not caller.waiting
    caller.out += caller.batcher.flush()
    assert text_of(caller.out) == text_of([event for event, _ in script])


@given(st.lists(st.tuples(events, gaps), max_size=12), strategies, windows)
def test_every_answer_begins_at_once(
    script: list[tuple[ContentEvent, float]], strategy: Strategy, window_s: float
) -> None:
    """The first delta comes out as it went in, also of an answer that is begun again; the second one may wait."""
    caller = Caller(Batcher(strategy, window_s))
    for _ in range(2):
        caller.out = []
        first = next((event for event, _ in script if isinstance(event, DELTA_TYPES)), None)
        for event, gap in script:
            ready = caller.push(event, gap, bound_of(event, strategy, window_s))
            if event is first:
                assert ready == [event]
                first = None
        caller.pass_to(caller.now + 10)
        caller.batcher.begin()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), strategies, st.booleans())
def test_no_character_is_split(text: str, strategy: Strategy, halves: bool) -> None:
    """Also one that the provider has cut into its UTF-16 halves: what comes out can be encoded and says the same."""
    units = text.encode("utf-16-le")
    parts = [units[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(units), 2)]
    joiner, batcher = SurrogateJoiner(), Batcher(strategy, 0.02)
    out: list[ContentEvent] = []
    for at, part in enumerate(parts if halves else text):
        whole = joiner.feed(part)
        out += batcher.push(TextDelta(0, whole), at / 100) if whole else []
    out += batcher.flush()
    assert joiner.flush() == ""
    assert "".join(encode_entry(event)[1].decode() for event in out) == text


@given(st.lists(st.sampled_from(["é" * 5000, "x" * 9000, "🙂 " * 2000]), min_size=2, max_size=12), strategies)
def test_what_waits_is_bounded(parts: list[str], strategy: Strategy) -> None:
    """An entry holds less than the merge limit and one more delta, however long nothing ends."""
    batcher = Batcher(strategy, 0.5)
    out: list[ContentEvent] = []
    for part in parts:
        out += batcher.push(TextDelta(0, part), 0.0)
    out += batcher.flush()
    sizes = [len(event.text.encode()) for event in out if isinstance(event, TextDelta)]
    assert max(sizes) < MERGE_LIMIT + max(len(part.encode()) for part in parts)
    assert "".join(event.text for event in out if isinstance(event, TextDelta)) == "".join(parts)


def text_of(script: list[ContentEvent]) -> list[tuple[Any, ...]]:
    """What is said, run by run: neighbours of one kind and block are one."""
    runs: list[tuple[Any, ...]] = []
    for event in script:
        key = (type(event), event.block, getattr(event, "signature", None))
        text = delta_text(event) if isinstance(event, DELTA_TYPES) else ""
        if runs and runs[-1][:3] == key and isinstance(event, DELTA_TYPES):
            text = runs.pop()[3] + text
        runs.append((*key, text))
    return runs
