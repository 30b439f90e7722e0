"""Joining neighbours, and folding the answer."""

from __future__ import annotations

from hypothesis import given

from broker.events import DELTA_TYPES, Entry, ReasoningDelta, TextDelta
from broker.fold import OutputFold
from broker.merge import MERGE_LIMIT, delta_text, merge_entries
from broker.position import Position
from broker.record import Output
from tests.unit.strategies import logs


def fold(entries: list[Entry]) -> Output:
    """The answer of these entries."""
    folded = OutputFold()
    for entry in entries:
        folded.apply(entry.event)
    return folded.output()


def held(entry: Entry) -> int:
    """How many entries an event stands for."""
    return (entry.event.merged or 1) if isinstance(entry.event, DELTA_TYPES) else 1


@given(logs())
def test_merged_and_exact_say_the_same(log: list[Entry]) -> None:
    """The answer is the same, the counts add up, and each id is that of the last entry held."""
    merged = merge_entries(log)
    assert fold(merged) == fold(log)
    assert sum(map(held, merged)) == len(log)
    seq = 0
    for entry in merged:
        seq += held(entry)
        assert entry.position == log[seq - 1].position


@given(logs())
def test_nothing_is_joined_across_a_border(log: list[Entry]) -> None:
    """Never over a block, an epoch, a type, a signature or 32 KiB."""
    seq = 0
    for entry in merge_entries(log):
        run = log[seq : seq + held(entry)]
        seq += held(entry)
        if len(run) == 1:
            continue
        assert len({(type(e.event), e.position.epoch, getattr(e.event, "block", None)) for e in run}) == 1
        assert not any(isinstance(e.event, ReasoningDelta) and (e.event.signature or e.event.opaque) for e in run)


def test_a_merged_event_stays_below_its_limit() -> None:
    """32 KiB of UTF-8, counted in bytes."""
    log = [Entry(Position(1, n), TextDelta(0, "é" * 5000)) for n in range(1, 20)]
    for entry in merge_entries(log):
        assert isinstance(entry.event, TextDelta)
        assert len(delta_text(entry.event).encode()) <= MERGE_LIMIT
