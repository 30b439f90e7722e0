"""What is shown, where, and what never reaches a terminal."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.failures import VoidOutput
from rejoinder.pairs import OptionError, json_pairs, text_pairs
from rejoinder.sanitize import neutralise, one_line
from rejoinder.stream_event import StreamEvent, decode_event
from rejoinder.terminal import Screen
from rejoinder.viewer import JsonViewer, TextViewer


def screen(*, out_is_tty: bool, err_is_tty: bool = False, colour: bool = False) -> Screen:
    """A screen that keeps what is written."""
    return Screen(io.StringIO(), io.StringIO(), out_is_tty, err_is_tty, colour)


def event(type_: str, **fields: object) -> StreamEvent:
    """An event as it comes from the wire."""
    return decode_event("7-1", json.dumps({"type": type_, **fields}), "node-a")


def show(target: Screen, *events: StreamEvent, void_possible: bool = False) -> tuple[str, str]:
    """What stands on standard output and standard error after these events."""
    viewer = TextViewer(target, void_possible=void_possible)
    for one in events:
        viewer.take(one)
    viewer.close("the end")
    assert isinstance(target.out, io.StringIO)
    assert isinstance(target.err, io.StringIO)
    return target.out.getvalue(), target.err.getvalue()


EVIL = "a\x1b]0;owned\x07b\x9b31mc\x7f\r\nd\te"


def test_into_a_pipe_goes_the_bare_answer() -> None:
    """Without reasoning, without a newline of ours."""
    out, err = show(
        screen(out_is_tty=False),
        event("reasoning.delta", block=0, text="hmm"),
        event("text.delta", block=1, text=EVIL),
        event("text.delta", block=1, text="!"),
    )
    assert out == EVIL + "!"
    assert err == "the end\n"


def test_on_a_terminal_control_characters_are_pictures() -> None:
    """A model can't retitle the window or type for the user."""
    out, _ = show(screen(out_is_tty=True), event("text.delta", block=0, text=EVIL))
    assert out == "a␛]0;owned␇b\ufffd31mc␡\nd\te\n"


@given(st.text())
def test_nothing_a_terminal_obeys_is_left(text: str) -> None:
    """For any text at all."""
    for char in neutralise(text):
        assert char in "\n\t" or not (ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0)
    assert "\n" not in one_line(text)


def test_reasoning_is_dimmed_and_set_apart_on_a_terminal() -> None:
    """The answer begins on a line of its own."""
    out, _ = show(
        screen(out_is_tty=True, colour=True),
        event("reasoning.delta", block=0, text="hmm"),
        event("text.delta", block=1, text="yes"),
    )
    assert out == "\x1b[2mhmm\x1b[0m\nyes\n"


def test_a_tool_call_is_shown_on_standard_error() -> None:
    """Its name and arguments are the model's, and neutralised."""
    call = event("tool_call.completed", block=0, call_id="c", name="get\x1b[1m", arguments='{"a":\n1}')
    out, err = show(screen(out_is_tty=False), call)
    assert out == ""
    assert '→ get␛[1m({"a": 1})' in err


RESTART = event("generation.started", attempt=2, mode="restart")
FIRST = event("generation.started", attempt=1, mode="restart")
WORDS = event("text.delta", block=0, text="half")


def test_a_takeover_that_starts_over_is_said_on_a_terminal() -> None:
    """What was shown is declared void."""
    out, err = show(screen(out_is_tty=True), FIRST, WORDS, RESTART, event("text.delta", block=0, text="whole"))
    assert out == "half\nwhole\n"
    assert "— worker lost, attempt 2 starts over —" in err


def test_a_takeover_that_goes_on_is_said_too() -> None:
    """What was shown stands."""
    _, err = show(screen(out_is_tty=True), FIRST, WORDS, event("generation.started", attempt=2, mode="continue"))
    assert "— worker lost, attempt 2 goes on from here —" in err


def test_two_answers_are_never_glued_together_in_a_pipe() -> None:
    """A restart is harmless only before the first text."""
    with pytest.raises(VoidOutput, match="attempt 2 starts over"):
        show(screen(out_is_tty=False), FIRST, WORDS, RESTART)
    with pytest.raises(VoidOutput):
        show(screen(out_is_tty=False), event("stream.reset", reason="epoch"), void_possible=True)
    out, _ = show(screen(out_is_tty=False), FIRST, RESTART, WORDS)
    assert out == "half"


def test_a_failure_names_code_and_next_step() -> None:
    """By code where one is known, else by whether it may pass."""
    failed = event("generation.failed", error={"code": "provider_auth", "message": "bad key", "retryable": False})
    _, err = show(screen(out_is_tty=False), failed)
    assert "error: bad key [provider_auth]" in err
    assert "next:" in err
    passing = event("generation.failed", error={"code": "other", "message": "x", "retryable": True})
    assert "submit it again" in show(screen(out_is_tty=False), passing)[1]


def test_a_refusing_provider_and_a_cancel_are_said() -> None:
    """Why nothing comes."""
    retrying = event("generation.retrying", attempt=1, delay_s=1.25, error={"code": "x", "message": "429"})
    _, err = show(screen(out_is_tty=False), retrying, event("generation.cancelled", reason="client"))
    assert "provider refused: 429; asked again in 1.2 s" in err
    assert "cancelled (client)" in err


def test_json_is_the_servers_ndjson() -> None:
    """And nothing beside it."""
    target = screen(out_is_tty=False)
    viewer = JsonViewer(target)
    viewer.take(WORDS)
    viewer.close("the end")
    assert isinstance(target.out, io.StringIO)
    assert json.loads(target.out.getvalue()) == {
        "id": "7-1",
        "event": {"type": "text.delta", "block": 0, "text": "half"},
    }
    assert isinstance(target.err, io.StringIO)
    assert target.err.getvalue() == ""


def test_pairs() -> None:
    """Options of the form name=value."""
    assert text_pairs(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    assert json_pairs(["n=1", "t=true", "s=slow", 'o={"a":[1]}']) == {"n": 1, "t": True, "s": "slow", "o": {"a": [1]}}
    assert text_pairs([]) is None
    for bad in ("novalue", "=x"):
        with pytest.raises(OptionError):
            text_pairs([bad])
