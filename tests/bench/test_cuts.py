"""The check of cuts finds nothing where all is well, and something where anything is not."""

from __future__ import annotations

import pytest

from api.formats import FOLDS, FORMATS
from api.formats.folded import Folded
from bench.cut_check import NAMES, Place, Tally, place, random_log
from bench.cuts import markdown, tried
from broker.position import Cursor, parse_cursor

LOGS = 12


def tally_of(name: str) -> Tally:
    """A few logs through one format."""
    return tried(name, 1, 0, LOGS)


@pytest.mark.parametrize("name", NAMES)
def test_every_format_goes_on_behind_every_frame(name: str) -> None:
    """What ``make cuts`` tries with ten thousand logs."""
    tally = tally_of(name)
    assert (tally.logs, tally.differences, tally.first) == (LOGS, 0, "")
    assert tally.resumes == 2 * tally.cuts > 10 * LOGS
    assert (tally.voids > 0) == (name not in {"native", "ndjson", "ai-sdk"})


def test_no_format_is_left_out() -> None:
    """But the second name of one."""
    assert {*FORMATS, *FOLDS} - {*NAMES} == {"sse"}


def test_logs_are_made_of_their_number() -> None:
    """Again the same, each another."""
    assert random_log(1, 7) == random_log(1, 7)
    assert len({repr(random_log(1, n)) for n in range(20)}) > 15


def test_a_frame_stands_where_its_id_says() -> None:
    """Behind a part of an entry, behind all of it, and nowhere."""
    part, whole, line = b"id: 17-4.2\ndata: x\n\n", b"id: 17-4\ndata: x\n\n", b'{"id":"17-5","event":{}}\n'
    found = [place(frame) for frame in (part, whole, line)]
    assert found == sorted(each for each in found if each)
    assert found[0] == Place(4, 2)
    assert place(b"event: stream.live\ndata: {}\n\n") is None


def test_a_frame_that_comes_twice_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has a part of an entry gets one frame too many."""

    def wrong(text: str) -> Cursor:
        cursor = parse_cursor(text)
        return Cursor(cursor.position, cursor.frame - 1) if cursor.frame > 1 else cursor

    monkeypatch.setattr("bench.cut_check.parse_cursor", wrong)
    assert tally_of("anthropic").differences > 0


def test_an_error_that_is_not_told_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A void attempt ends with a break and nothing else."""

    def silent(*_: object) -> list[bytes]:
        return []

    monkeypatch.setattr("api.formats.openai_chat.ChatFold.void", silent)
    tally = tally_of("openai.chat")
    assert tally.differences >= tally.voids > 0
    assert tally.first.startswith("openai.chat: behind ")


def test_void_text_that_is_glued_to_the_next_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A format that does not break off."""

    def glue(_: object) -> None:
        return None

    monkeypatch.setattr("api.formats.text.Text._void", glue)
    assert tally_of("text").differences > 0


def test_a_reader_who_is_broken_off_for_nothing_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes first holds nothing."""
    real = Folded.begin

    def wrong(self: Folded, restart: int, *, foreign: bool = False) -> None:
        real(self, restart, foreign=not foreign)

    monkeypatch.setattr("api.formats.folded.Folded.begin", wrong)
    assert tally_of("openai.chat").differences == LOGS


def test_the_table_has_a_line_for_each_format() -> None:
    """With what was tried."""
    lines = markdown({"native": Tally(10_000, 5, 10, 1, 0)}).splitlines()
    assert lines[2:] == ["| native | 10,000 | 5 | 10 | 1 | 0 |"]
