"""One pass over raw rows says what reading, following and merging say one after the other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import LogDamaged
from broker.events import TERMINAL_TYPES, Created, Entry, TextDelta, encode_entry
from broker.follow import Follower, Page
from broker.merge import MERGE_LIMIT, merge_entries
from broker.pages import share
from broker.position import START, Position
from broker.rows import Row, fold_rows
from tests.unit.strategies import logs


def rows_of(entries: list[Entry]) -> list[Row]:
    """As they stand in the log."""
    return [[str(entry.position).encode(), list(encode_entry(entry.event))] for entry in entries]


def plain(entries: list[Entry]) -> list[Entry]:
    """Without the first event, whose form in the log only the script writes."""
    return [entry for entry in entries if not isinstance(entry.event, Created)]


@given(logs(ended=True), st.data(), st.booleans())
def test_one_pass_or_three_the_same_comes_out(log: list[Entry], data: st.DataObject, merge: bool) -> None:
    """From any entry on, up to any other."""
    entries = plain(log)
    at = data.draw(st.integers(0, len(entries) - 1))
    until = data.draw(st.integers(at + 1, len(entries)))
    part = entries[at:until]
    before = entries[at - 1].position if at else Position(part[0].position.epoch, part[0].position.seq - 1)
    follower = Follower(before)
    follower.on_notice(part, before)
    folded = fold_rows(rows_of(part), before, merge=merge)
    assert folded.entries == (merge_entries(part) if merge else part)
    assert (folded.last, folded.ended, folded.count) == (follower.position, follower.ended, len(part))


@given(logs(ended=True), st.data())
def test_a_hole_is_found_wherever_it_is(log: list[Entry], data: st.DataObject) -> None:
    """A row is missing, comes twice, or stands in the wrong place."""
    entries = plain(log)
    before = Position(entries[0].position.epoch, entries[0].position.seq - 1)
    rows = rows_of(entries)
    at = data.draw(st.integers(0, len(rows) - 1))
    broken = data.draw(st.sampled_from([rows[:at] + rows[at + 1 :], [*rows[: at + 1], *rows[at:]], rows[::-1]]))
    if broken in (rows, rows[:-1]):
        return
    with pytest.raises(LogDamaged):
        fold_rows(broken, before, merge=data.draw(st.booleans()))


def test_a_merged_delta_is_no_larger_than_it_may_be() -> None:
    """The limit is one of UTF-8 bytes, and what crosses it begins the next."""
    entries = [Entry(Position(7, seq), TextDelta(0, "é" * 5000)) for seq in range(1, 12)]
    folded = fold_rows(rows_of(entries), Position(7, 0), merge=True)
    assert folded.entries == merge_entries(entries)
    texts = [entry.event.text for entry in folded.entries if isinstance(entry.event, TextDelta)]
    assert all(len(text.encode()) <= MERGE_LIMIT for text in texts)


@given(logs(ended=True), st.data(), st.booleans())
def test_a_shared_page_tells_a_follower_what_its_own_page_would(
    log: list[Entry], data: st.DataObject, patient: bool
) -> None:
    """At every position there is, and at some that there are not."""
    entries = plain(log)
    known = data.draw(st.sampled_from([entry.position for entry in entries]) | st.just(Position(99, 99)))
    found = [entry for entry in entries if entry.position >= known]
    ended = data.draw(st.booleans())
    own, sharing = Follower(known), Follower(known)
    step = own.on_page(Page(found, full=False, ended=ended), patient=patient)
    page = share(rows_of(found), known, merge=False, full=False, log_ended=ended)
    assert sharing.on_shared(page, patient=patient) == step.kind
    assert (sharing.position, sharing.ended) == (own.position, own.ended)
    assert page.batch.entries == step.entries or step.kind != "entries"
    assert page.batch.ended == own.ended or step.kind != "entries"


def test_nothing_goes_on_behind_an_end() -> None:
    """Neither behind one in the page nor behind the position itself."""
    end = TERMINAL_TYPES[2]("client")
    entries = [Entry(Position(7, 1), end), Entry(Position(7, 2), TextDelta(0, "a"))]
    for position in (Position(7, 1), START):
        with pytest.raises(LogDamaged):
            share(rows_of(entries), position, merge=True, full=False, log_ended=True)
