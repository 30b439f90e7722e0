"""Density by arithmetic, in the client's cursor and in the demo's independent ledger; waits; counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.position import Position
from rejoinder.backoff import Backoff, Patience, parse_retry_after
from rejoinder.failures import StreamBroken
from rejoinder.ledger import Ledger
from rejoinder.progress import Progress
from rejoinder.stream_event import Cursor, StreamEvent, decode_event


def delta(seq: int, merged: int = 1, epoch: int = 7, words: str = "x") -> StreamEvent:
    """A text delta that ends at this seq and holds this many entries."""
    fields = {"type": "text.delta", "text": words} | ({"merged": merged} if merged != 1 else {})
    return StreamEvent(f"{epoch}-{seq}", "text.delta", fields, "node-a")


RESET = StreamEvent(None, "stream.reset", {"type": "stream.reset"}, "node-b")


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30))
def test_any_merging_of_a_dense_log_is_accepted(sizes: list[int]) -> None:
    """However the server joins neighbours, cursor and ledger come to the same end."""
    cursor, ledger, seq = Cursor(), Ledger(), 0
    for size in sizes:
        seq += size
        cursor.take(delta(seq, size))
        ledger.take(delta(seq, size))
    assert cursor.position == Position(7, seq)
    assert (ledger.entries, ledger.gaps, ledger.duplicates) == (seq, 0, 0)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=20), st.data())
def test_any_event_left_out_or_repeated_is_noticed(sizes: list[int], data: st.DataObject) -> None:
    """One lost or doubled event, anywhere: counted exactly by the ledger, refused by the cursor."""
    events: list[StreamEvent] = []
    seq = 0
    for size in sizes:
        seq += size
        events.append(delta(seq, size))
    victim = data.draw(st.integers(0, len(events) - 2))
    repeat = data.draw(st.booleans())
    broken = [*events[: victim + 1], *events[victim + (0 if repeat else 1) :]] if repeat else events[:]
    if not repeat:
        del broken[victim]
    cursor, ledger = Cursor(), Ledger()
    for event in broken:
        ledger.take(event)
    assert (ledger.duplicates if repeat else ledger.gaps) == sizes[victim]
    with pytest.raises(StreamBroken, match="repetition" if repeat else "gap"):
        for event in broken:
            cursor.take(event)


def test_a_cursor_that_refused_stays_where_it_was() -> None:
    """Gap, repetition, an older epoch, a senseless merge: each leaves the last good position to resume from."""
    cursor = Cursor(Position(7, 3))
    for wrong in (delta(5), delta(3), delta(4, epoch=6), delta(4, merged=0), delta(4, merged=2)):
        with pytest.raises(StreamBroken):
            cursor.take(wrong)
    assert cursor.last_event_id == "7-3"
    cursor.take(delta(4, epoch=9))
    assert cursor.last_event_id == "9-4"


def test_a_reset_starts_over_and_wire_only_events_move_nothing() -> None:
    """Only events with an id, and the reset, change where a reader stands."""
    cursor = Cursor(Position(7, 3))
    cursor.take(StreamEvent(None, "stream.live", {"type": "stream.live"}))
    assert cursor.last_event_id == "7-3"
    cursor.take(RESET)
    assert cursor.last_event_id is None
    cursor.take(delta(1, epoch=9))
    assert cursor.last_event_id == "9-1"


def test_the_ledger_clears_the_text_at_a_reset_and_names_each_node() -> None:
    """What was void is not compared with the record."""
    ledger = Ledger()
    for event in (delta(1, words="void"), RESET, delta(1, words="a"), delta(2, words="b")):
        ledger.take(event)
    assert ledger.text == "ab"
    assert ledger.nodes == ["node-a", "node-b", "node-a"]
    assert (ledger.gaps, ledger.duplicates) == (0, 0)


@pytest.mark.parametrize("data", ["", "[1]", "{", '{"type": 1}', '{"text": "a"}'])
def test_what_is_no_event_is_refused(data: str) -> None:
    """Anything but an object with a type is the wire's fault, said with the client's own error."""
    with pytest.raises(StreamBroken):
        decode_event("7-1", data, "")


def test_waits_grow_with_full_jitter_and_start_again_after_progress() -> None:
    """Doubling up to the cap; the server's ``retry:`` takes the place of the base."""
    backoff = Backoff(Patience(base_s=1, cap_s=5), random=lambda: 1.0)
    assert [backoff.next_delay() for _ in range(5)] == [1, 2, 4, 5, 5]
    backoff.success()
    backoff.retry_s = 0.25
    assert backoff.next_delay() == 0.25
    assert Backoff(Patience(), random=lambda: 0.0).next_delay() == 0.0


def test_a_wait_is_never_shorter_than_retry_after() -> None:
    """The jitter comes on top, so that clients told the same time do not come back together."""
    assert Backoff(Patience(), random=lambda: 0.0).next_delay(retry_after_s=7) == 7
    assert Backoff(Patience(base_s=1), random=lambda: 1.0).next_delay(retry_after_s=7) == 8


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("3", 3.0), (None, None), ("Fri, 20 Nov 2026 10:00:00 GMT", None), ("-1", None), ("²", None)],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    """Whole seconds only; everything else counts as absent."""
    assert parse_retry_after(header) == seconds


def test_the_status_line_tells_tokens_speed_node_attempt_and_reconnects() -> None:
    """All that one wants to know while it runs."""
    progress = Progress("gen_1", asked_at=10.0)
    progress.opened("node-a")
    progress.take(StreamEvent("7-1", "generation.started", {"attempt": 2, "mode": "continue"}), 10.1)
    progress.take(StreamEvent(None, "stream.live", {}), 10.2)
    for seq in range(2, 42):
        progress.take(delta(seq), 10.5)
    line = progress.status_line(12.2)
    for part in ("~40 tokens", "20.0/s", "first token 0.50 s", "node-a", "attempt 2"):
        assert part in line
    progress.lost()
    assert "reconnecting" in progress.status_line(12.3)
    progress.opened("node-b")
    assert "node-b" in progress.status_line(12.4)
    assert "1 reconnect" in progress.summary()


def test_the_summary_counts_as_the_provider_did() -> None:
    """The estimate gives way to the provider's own count."""
    progress = Progress("gen_1")
    progress.take(delta(1, words="long text that is many characters"), 1.0)
    fields = {"finish_reason": "stop", "usage": {"output_tokens": 7}, "timing": {"ttft_ms": 120}}
    progress.take(StreamEvent("7-2", "generation.completed", fields), 2.0)
    assert progress.summary() == "completed (stop) · 7 tokens · first token 0.12 s · gen_1"


def test_a_restart_voids_what_was_counted() -> None:
    """Tokens of a void attempt are nobody's."""
    progress = Progress("gen_1")
    progress.take(delta(1), 1.0)
    progress.take(StreamEvent("8-2", "generation.started", {"attempt": 2, "mode": "restart"}), 1.0)
    assert progress.tokens == 0
