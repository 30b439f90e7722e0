"""The formats as pure folds: what each writes for an item, and what text does about a void attempt."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.formats import FOLDS, FORMATS, FormatName
from api.formats.base import Format, VoidAttempt
from api.formats.text import Survey, Text
from broker.events import Completed, Created, Entry, Event, Failed, ReasoningDelta, Started, TextDelta, event_to_json
from broker.merge import merge_entries
from broker.position import START, Position
from broker.tail_items import Batch, Live, Reset, TailItem
from broker.values import ErrorInfo
from tests.support.whatwg import EventSourceParser

FIRST = Started(1, "restart", "demo", "demo-1")
AGAIN = Started(2, "restart", "demo", "demo-1")
ON = Started(2, "continue", "demo", "demo-1")


def log(*events: Event) -> list[Entry]:
    """A whole log, with its first entry."""
    return [Entry(Position(7, seq), event) for seq, event in enumerate([Created({}), *events], 1)]


def d(text: str) -> TextDelta:
    """A delta."""
    return TextDelta(0, text)


def written(fmt: Format, *items: TailItem) -> bytes:
    """All frames of the items."""
    return b"".join(frame for item in items for frame in fmt.frames(item))


def test_the_registry_holds_every_name_a_client_may_say() -> None:
    """``?format=`` and the table of formats can't drift apart."""
    assert set(get_args(FormatName)) == {*FORMATS, *FOLDS}


def test_native_frames_carry_id_name_and_json() -> None:
    """One frame for each entry; wire-only events have no id."""
    entries = log(FIRST, d("Hé\u2028\n"), Completed("stop"))
    parser = EventSourceParser()
    body = written(FORMATS["native"](), Reset("position_not_in_log"), Batch(entries[:3], live=False), Live())
    events = parser.feed(body + written(FORMATS["native"](), Batch(entries[3:], live=True)))
    assert [event.type for event in events] == [
        *("stream.reset", "generation.created", "generation.started", "text.delta", "stream.live"),
        "generation.completed",
    ]
    assert [event.last_event_id for event in events] == ["", "7-1", "7-2", "7-3", "7-3", "7-4"]
    assert json.loads(events[0].data) == {"type": "stream.reset", "reason": "position_not_in_log"}
    assert json.loads(events[3].data) == {"type": "text.delta", "block": 0, "text": "Hé\u2028\n"}


def test_ndjson_has_one_object_a_line() -> None:
    """With the id beside the event; null where there is none."""
    ndjson = FORMATS["ndjson"]()
    lines = written(ndjson, Batch(log(d("a\nb")), live=False), Live()) + ndjson.heartbeat
    objects = [json.loads(line) for line in lines.splitlines()]
    assert [o["id"] for o in objects] == ["7-1", "7-2", None, None]
    assert objects[1]["event"] == {"type": "text.delta", "block": 0, "text": "a\nb"}
    assert [o["event"]["type"] for o in objects[2:]] == ["stream.live", "stream.heartbeat"]


def test_text_writes_the_answer_and_nothing_else() -> None:
    """No reasoning, no frames, no heartbeat."""
    text = FORMATS["text"]()
    entries = log(FIRST, ReasoningDelta(0, "hm"), d("Hé"), d("llo"), Failed(ErrorInfo("provider_error", "no")))
    assert written(text, Batch(entries, live=False), Live()) == "Héllo".encode()
    assert (text.heartbeat, text.preamble(1000)) == (b"", b"")


def test_text_breaks_off_when_what_it_sent_becomes_void() -> None:
    """Contract section 5: never two answers glued together."""
    text = Text()
    text.frames(Batch(log(FIRST, d("a")), live=True))
    with pytest.raises(VoidAttempt):
        text.frames(Batch(log(AGAIN)[1:], live=True))
    with pytest.raises(VoidAttempt):
        text.frames(Reset("position_not_in_log"))


def test_text_leaves_a_void_attempt_out_that_nobody_was_sent() -> None:
    """Also when attempt and restart come in one batch; a continued attempt stands."""
    text = Text()
    assert written(text, Batch(log(FIRST, d("void"), AGAIN, d("a"), ON, d("b")), live=True)) == b"ab"


def survey(entries: list[Entry], after: Position, *, merged: bool) -> tuple[Text, Survey]:
    """A survey of a whole log for a reader at ``after``."""
    look = Survey(after)
    look.look(Batch(merge_entries(entries) if merged else entries, live=False))
    look.look(Live())
    return Text(), look


TWO_ATTEMPTS = log(FIRST, d("x"), d("y"), AGAIN, d("a"), d("b"))


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize(
    ("after", "begin", "sent"),
    [
        (START, Position(7, 5), False),
        (Position(7, 1), Position(7, 5), False),
        (Position(7, 2), Position(7, 5), False),
        (Position(7, 5), Position(7, 5), False),
        (Position(7, 6), Position(7, 6), True),
    ],
)
def test_a_survey_finds_where_a_reader_may_begin(after: Position, begin: Position, sent: bool, merged: bool) -> None:
    """Past the void attempt, for whoever has nothing of it."""
    reader, look = survey(TWO_ATTEMPTS, after, merged=merged)
    assert look.begin(reader) == begin
    assert reader.sent is sent


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize("after", [Position(7, 3), Position(7, 4), Position(6, 9), Position(7, 99)])
def test_a_survey_turns_away_who_holds_void_text(after: Position, merged: bool) -> None:
    """Text of the void attempt, or of a log that is not this one, after which a restart came."""
    reader, look = survey(TWO_ATTEMPTS, after, merged=merged)
    if after < Position(7, 5):
        with pytest.raises(VoidAttempt):
            look.begin(reader)
    else:
        assert look.begin(reader) == after
        with pytest.raises(VoidAttempt):
            reader.frames(Reset("position_not_in_log"))


EVENTS = st.lists(
    st.one_of(st.text(max_size=3).map(d), st.sampled_from([AGAIN, ON, ReasoningDelta(0, "r")])), max_size=12
)


@given(events=EVENTS, cut=st.integers(0, 14))
def test_native_and_ndjson_are_the_same_after_any_cut(events: list[Event], cut: int) -> None:
    """frames(all) == frames(up to the cut) + frames(after it): nothing depends on what came before."""
    entries = log(*events)
    for name in ("native", "ndjson"):
        fmt = FORMATS[name]()
        whole = written(fmt, Batch(entries, live=False))
        parts = written(fmt, Batch(entries[:cut], live=False), Batch(entries[cut:], live=True))
        assert whole == parts
        assert all(event_to_json(event) in whole for event in events)


@given(events=EVENTS, cut=st.integers(0, 14))
def test_text_never_glues_two_answers_together(events: list[Event], cut: int) -> None:
    """A reader that joins at any moment and is not broken off has exactly the text that stands."""
    entries = log(FIRST, *events)
    stands = b""
    for _, event in entries:
        if isinstance(event, Started) and event.mode == "restart":
            stands = b""
        elif isinstance(event, TextDelta):
            stands += event.text.encode()
    look = Survey(START)
    look.look(Batch(merge_entries(entries[:cut]), live=False))
    reader = Text()
    begin = look.begin(reader)
    body = b""
    try:
        body += written(reader, Batch([e for e in entries[:cut] if e.position > begin], live=False))
        body += written(reader, Batch(entries[cut:], live=True))
    except VoidAttempt:
        assert any(isinstance(e.event, Started) and e.event == AGAIN for e in entries[cut:])
    else:
        assert body == stands
