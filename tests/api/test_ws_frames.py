"""The socket's messages: whatever a client sends is a message or is refused, and frames are as RFC 6455 says."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from api.body import parse_generation_request
from api.errors import InvalidFields
from api.ws_frames import (
    CLOSE_MEANINGS,
    REF_LIMIT,
    BadMessage,
    Cancel,
    Close,
    Ping,
    Submit,
    Subscribe,
    Unsubscribe,
    accepted,
    event_messages,
    frame,
    offered_key,
    parse_message,
    refused,
)
from api.ws_wire import DirectOut, PlainOut
from broker.errors import QueueFull, UnknownModel
from broker.events import Entry, TextDelta, event_to_json
from broker.position import Position
from broker.tail_items import Batch, Live, Reset

effort = settings(max_examples=50, deadline=None)
texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
kinds = st.sampled_from(["submit", "subscribe", "unsubscribe", "cancel", "ping", "pong", "event"])
fields = st.dictionaries(st.sampled_from(["ref", "id", "after", "request", "idempotency_key", "more"]), json_values)


def _said(parts: tuple[str, dict[str, Any]]) -> str:
    kind, more = parts
    return json.dumps({"type": kind, **more})


@effort
@given(st.text() | json_values.map(json.dumps) | st.tuples(kinds, fields).map(_said))
def test_anything_is_a_message_or_refused(said: str) -> None:
    """And nothing else comes of it; the reason repeats nothing long, and fits into a close frame."""
    try:
        message = parse_message(said)
    except BadMessage as error:
        assert len(str(error).encode()) <= 123
    else:
        assert isinstance(message, Submit | Subscribe | Unsubscribe | Cancel | Ping)


@effort
@given(texts.filter(lambda text: len(text) <= REF_LIMIT), json_values, texts)
def test_what_a_client_says_is_what_is_understood(name: str, request: object, after: str) -> None:
    """Each message, with any text in its fields; the request is kept as it came."""
    said = {"type": "submit", "ref": name, "request": request, "idempotency_key": after}
    message = parse_message(json.dumps(said))
    assert isinstance(message, Submit)
    assert (message.ref, message.idempotency_key) == (name, after)
    assert json.loads(bytes(message.request)) == request
    assert parse_message(json.dumps({"type": "subscribe", "id": name, "after": after})) == Subscribe(name, after)
    assert parse_message(json.dumps({"type": "subscribe", "id": name})) == Subscribe(name, None)
    assert parse_message(json.dumps({"type": "unsubscribe", "id": name})) == Unsubscribe(name)
    assert parse_message(json.dumps({"type": "cancel", "id": name})) == Cancel(name)


def test_nesting_without_end_is_refused_and_not_a_fault() -> None:
    """Neither here nor behind it may the interpreter's stack run out."""
    deep = "[" * 100_000 + "]" * 100_000
    with pytest.raises(BadMessage):
        parse_message(deep)
    with pytest.raises(BadMessage):
        parse_message(f'{{"type":"submit","ref":1,"request":{deep}}}')


def test_text_that_is_no_unicode_is_refused() -> None:
    """A lone surrogate: JSON has a way to write it, and nobody could be answered with it."""
    with pytest.raises(BadMessage):
        parse_message('{"type":"cancel","id":"\\ud800"}')


@effort
@given(texts, st.integers(0, 10**15), st.integers(1, 10**9))
def test_an_event_is_a_message_with_its_position(text: str, epoch: int, seq: int) -> None:
    """The event is byte for byte what SSE sends."""
    event = TextDelta(0, text)
    (message,) = event_messages("gen_1", Batch([Entry(Position(epoch, seq), event)], live=True))
    told = json.loads(message)
    assert told == {"type": "event", "generation": "gen_1", "id": f"{epoch}-{seq}", "event": told["event"]}
    assert event_to_json(event) in message


def test_what_exists_only_on_the_wire_has_a_null_id() -> None:
    """And moves no cursor."""
    live, reset = event_messages("gen_1", Live())[0], event_messages("gen_1", Reset("position_not_in_log"))[0]
    assert json.loads(live) == {"type": "event", "generation": "gen_1", "id": None, "event": {"type": "stream.live"}}
    assert json.loads(reset)["event"] == {"type": "stream.reset", "reason": "position_not_in_log"}


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 70_000])
def test_a_frame_is_what_the_library_would_send(size: int) -> None:
    """Every length has its form, and another parser finds the message again."""
    payload = b"x" * size
    assert frame(payload) == Frame(Opcode.TEXT, payload).serialize(mask=False)
    assert _parsed(frame(payload)).data == payload


def _parsed(data: bytes) -> Frame:
    reader = StreamReader()
    reader.feed_data(data)
    parsing: Generator[None, None, Frame] = Frame.parse(reader.read_exact, mask=False)
    try:
        next(parsing)
    except StopIteration as found:
        return found.value
    raise AssertionError("the frame is not whole")


@effort
@given(st.lists(st.binary(max_size=40_000), min_size=1, max_size=12))
def test_pieces_say_how_many_messages_they_end(messages: list[bytes]) -> None:
    """All bytes in order, no message torn; so a turn can end behind any piece."""
    for out in (DirectOut(None, 1), PlainOut(None, 1)):  # pyright: ignore[reportArgumentType] - neither is written to
        pieces = out.encode(messages)
        ends = [piece.messages for piece in pieces]
        assert ends == sorted(set(ends))
        assert ends[-1] == len(messages)
        framed = [frame(message) for message in messages] if isinstance(out, DirectOut) else messages
        begin = 0
        for piece in pieces:
            assert piece == b"".join(framed[begin : piece.messages])
            begin = piece.messages


def test_answers_say_what_they_answer() -> None:
    """The ref comes back as it was; what HTTP would say of an error is said here."""
    assert json.loads(accepted(7, "gen_1", replayed=False)) == {"type": "accepted", "ref": 7, "id": "gen_1"}
    assert json.loads(accepted("a", "gen_1", replayed=True))["replayed"] is True
    told = json.loads(refused("submit", UnknownModel("no such", field="model"), ref="r"))
    answered = {"type": "error", "op": "submit", "ref": "r", "id": None}
    assert told == answered | {"code": "unknown_model", "message": "no such", "retryable": False, "field": "model"}
    assert json.loads(refused("submit", QueueFull(), ref="r"))["retry_after_s"] == 5.0
    with pytest.raises(InvalidFields) as caught:
        parse_generation_request(b"{}")
    assert json.loads(refused("submit", caught.value, ref="r"))["errors"]


def test_every_close_code_is_described() -> None:
    """And stands on its side: 4000s come back, 4500s don't."""
    assert set(CLOSE_MEANINGS) == set(Close)
    final = {Close.BAD_MESSAGE, Close.UNAUTHORIZED, Close.TOO_LARGE}
    assert {code for code in Close if code >= 4500} == final
    assert all(4000 <= code < 5000 for code in Close)


def test_the_key_is_the_first_bearer() -> None:
    """Other subprotocols are none; an empty key is one that fits nobody."""
    assert offered_key(["rejoinder.v1", "bearer.k.1", "bearer.other"]) == "k.1"
    assert offered_key(["rejoinder.v1", "bearer."]) == ""
    assert offered_key(["rejoinder.v1"]) is None


def test_a_request_is_not_parsed_twice() -> None:
    """What is judged is what came, also where JSON would say it in another way."""
    message = parse_message('{"type":"submit","ref":1,"request":{"model" : "demo\\u002fdemo-1"}}')
    assert isinstance(message, Submit)
    assert message.request == msgspec.Raw(b'{"model" : "demo\\u002fdemo-1"}')
