"""OpenAI's Responses stream as a pure fold: the goldens of wires.md, the numbers, and what a restart does to them."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from api.formats.openai_responses import ResponsesFold
from api.formats.response_resource import response_resource
from api.formats.response_sequence import SequenceSearch
from broker.events import (
    CONTENT_TYPES,
    Cancelled,
    Completed,
    Created,
    Entry,
    Event,
    Failed,
    ReasoningDelta,
    RefusalDelta,
    Started,
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
)
from broker.position import Cursor
from broker.submission import Submission
from broker.values import ErrorInfo, Timing, Usage
from tests.api.responses_wire import SUBMISSION, asked, known, log_of, read, standing, steps
from tests.contracts.formats import effort
from tests.contracts.histories import ended_logs, logs, restarts

GOLDENS = Path(__file__).resolve().parents[1] / "goldens"
BEGIN: tuple[Event, ...] = (Created({}), Started(1, "restart", "demo", "demo-1"))
HELLO: tuple[Event, ...] = (TextDelta(1, "Hel"), TextDelta(1, "lo"))
CALL: tuple[Event, ...] = (
    ToolCallStarted(0, "call_1", "get_weather"),
    ToolCallDelta(0, "call_1", '{"city":'),
    ToolCallDelta(0, "call_1", '"Paris"}'),
    ToolCallCompleted(0, "call_1", "get_weather", '{"city":"Paris"}'),
)
_COUNTED: dict[str, Any] = {"usage": Usage(3, 2), "timing": Timing(duration_ms=1000)}
AGAIN = Started(2, "restart", "demo", "demo-1")
DONE = Completed("stop", **_COUNTED)
GOLDEN: dict[str, tuple[Event, ...]] = {
    "text": (*HELLO, DONE),
    "reasoning_text": (ReasoningDelta(0, "thin"), ReasoningDelta(0, "king"), *HELLO, DONE),
    "function_call": (*CALL, Completed("tool_calls", **_COUNTED)),
    "refusal": (RefusalDelta(0, "No."), Completed("refusal", **_COUNTED)),
    "incomplete": (*HELLO, Completed("length", **_COUNTED)),
}
stream_event: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """The types without their common beginning."""
    return [event["type"].removeprefix("response.") for event in events]


@pytest.mark.golden
@pytest.mark.parametrize("name", GOLDEN)
def test_the_goldens_of_real_clients(name: str) -> None:
    """Each sequence that all SDKs were seen to accept, field by field; only ids of items differ."""
    submission = Submission("gen_1", "m1", 1_760_000_000.5)
    frames = standing(log_of(*BEGIN, *GOLDEN[name]), submission)
    same_ids = [re.sub(rb'"(msg|rs|fc)_1_1_\d"', rb'"\1_1"', frame) for frame in frames]
    lines = (GOLDENS / f"responses_full_{name}.jsonl").read_text().splitlines()
    assert read(same_ids) == [json.loads(line) for line in lines if line]


@pytest.mark.golden
def test_a_background_response_begins_queued() -> None:
    """As in its golden: created and queued, then in progress."""
    golden = [json.loads(line) for line in (GOLDENS / "responses_text_background.jsonl").read_text().splitlines()]
    events = read(standing(log_of(*BEGIN, *HELLO, DONE), asked(background=True)))
    said = [
        [(e["type"], e["sequence_number"], e.get("response", {}).get("status")) for e in of] for of in (events, golden)
    ]
    assert said[0] == said[1]
    assert {event["response"]["background"] for event in events if "response" in event} == {True}


@pytest.mark.parametrize(
    ("end", "kind", "status", "text_status"),
    [
        (Completed("stop"), "response.completed", "completed", "completed"),
        (Completed("refusal"), "response.incomplete", "incomplete", "completed"),
        (Completed("content_filter"), "response.incomplete", "incomplete", "completed"),
        (Cancelled("client"), "response.incomplete", "cancelled", "incomplete"),
        (Cancelled("deadline"), "response.incomplete", "cancelled", "incomplete"),
        (Failed(ErrorInfo("provider_rate_limited", "slow")), "response.failed", "failed", "incomplete"),
    ],
)
def test_ends(end: Event, kind: str, status: str, text_status: str) -> None:
    """What is open is closed first, as it stands; then the one end."""
    half: tuple[Event, ...] = (TextDelta(0, "Hm"), ToolCallStarted(1, "call_1", "f"), ToolCallDelta(1, "call_1", "{"))
    events = read(standing(log_of(*BEGIN, *half, TextDelta(2, "so"), end)))
    whole = events[-1]["response"]
    assert (events[-1]["type"], whole["status"]) == (kind, status)
    assert [item["status"] for item in whole["output"]] == ["completed", "incomplete", text_status]
    assert whole["output"] == [event["item"] for event in events if event["type"].endswith("output_item.done")]
    assert "function_call_arguments.done" not in kinds(events)
    assert whole["error"] == ({"code": "rate_limit_exceeded", "message": "slow"} if status == "failed" else None)
    assert whole["completed_at"] is None


def test_arguments_that_come_only_with_the_whole_call_are_told_as_a_delta() -> None:
    """A client that adds up deltas is left with all of them; what was said otherwise is corrected by the end."""
    for said, deltas in (("", ['{"a":1}']), ('{"a"', ['{"a"', ":1}"]), ("{ ", ["{ "])):
        pieces = [ToolCallDelta(0, "x", said)] if said else []
        log = log_of(*BEGIN, ToolCallStarted(0, "x", "f"), *pieces, ToolCallCompleted(0, "x", "f", '{"a":1}'), DONE)
        events = read(standing(log))
        assert [event["delta"] for event in events if event["type"].endswith(".delta")] == deltas
        assert [event["arguments"] for event in events if event["type"].endswith("arguments.done")] == ['{"a":1}']


def test_reasoning_keeps_what_only_its_provider_can_read() -> None:
    """Sealed on this wire unless it is at home here; without a word of summary there is no part of one."""
    secret: tuple[Event, ...] = (ReasoningDelta(0, "", signature="c2ln"), ReasoningDelta(1, "", opaque="b3A="))
    for provider, contents in (
        ("anthropic", ["rj1.anthropic.signature.c2ln", "rj1.anthropic.opaque.b3A="]),
        ("openai-responses", ["c2ln", "b3A="]),
    ):
        begin = (Created({}), Started(1, "restart", provider, "m"))
        events = read(standing(log_of(*begin, *secret, DONE)))
        assert kinds(events)[2:-1] == ["output_item.added", "output_item.done"] * 2
        items = [event["item"] for event in events if event["type"].endswith("item.done")]
        assert [(item["encrypted_content"], item["summary"]) for item in items] == [(c, []) for c in contents]


def test_calls_may_be_open_side_by_side() -> None:
    """Each grows at its own index, and prose that goes on behind them is a new item."""
    log = log_of(
        *BEGIN,
        TextDelta(0, "a"),
        ToolCallStarted(1, "x", "f"),
        ToolCallStarted(2, "y", "g"),
        ToolCallDelta(2, "y", "{}"),
        ToolCallDelta(1, "x", "{"),
        TextDelta(0, "b"),
        ToolCallCompleted(1, "x", "f", "{}"),
        ToolCallCompleted(2, "y", "g", "{}"),
        DONE,
    )
    events = read(standing(log))
    deltas = [(e["output_index"], e["delta"]) for e in events if e["type"].endswith(".delta")]
    assert deltas == [(0, "a"), (2, "{}"), (1, "{"), (3, "b"), (1, "}")]
    assert [e["output_index"] for e in events if e["type"].endswith("item.done")] == [0, 1, 2, 3]
    assert [item["type"] for item in events[-1]["response"]["output"]] == [
        *("message", "function_call", "function_call", "message"),
    ]


def test_a_restart_begins_the_output_anew_and_the_numbers_go_on() -> None:
    """The void attempt's numbers and one for the error frame are jumped over; no id comes back with other content."""
    log = log_of(*BEGIN, *HELLO, AGAIN, *HELLO, DONE)
    told = steps(log)
    numbers = [event["sequence_number"] for event in read(standing(log))]
    assert numbers == [0, 1, *range(7, 15)]
    fold = ResponsesFold(SUBMISSION)
    [error] = read(fold.void(told[3][1]))
    flat = {"code": "restarted", "message": error["message"], "param": None}
    assert error == {"type": "error", "sequence_number": 6, **flat, "error": {"type": "server_error", **flat}}
    [first, second] = [read(told[at][2])[0]["item"]["id"] for at in (2, 5)]
    assert first != second


@effort
@given(logs)
def test_numbers_are_dense_and_never_come_twice(log: list[Entry]) -> None:
    """Over everything that is ever made; only a restart that voids content leaves one out, for its error frame."""
    next_number, content = 0, False
    for entry, state, frames in steps(log):
        if restarts(entry) and content:
            next_number += 1
        content = (content or isinstance(entry.event, CONTENT_TYPES)) and not restarts(entry)
        numbers = [event["sequence_number"] for event in read(frames)]
        assert numbers == list(range(next_number, next_number + len(frames)))
        next_number += len(frames)
        assert state.sequence == next_number


@effort
@given(logs)
def test_states_are_never_changed(log: list[Entry]) -> None:
    """Several readers may go on from the same one."""
    fold = ResponsesFold(SUBMISSION)
    told = steps(log)
    for (_, state, _), (entry, after, frames) in pairwise(told):
        assert fold.step(state, entry) == (after, frames)


@effort
@given(logs)
def test_every_event_is_one_that_the_sdk_knows(log: list[Entry]) -> None:
    """By its own models. A summary of reasoning begins with its first text, so an empty piece may say nothing."""
    for entry, _, frames in steps(log):
        for event in read(frames):
            stream_event.validate_python(event)
        silent = isinstance(entry.event, ReasoningDelta) and not entry.event.text
        assert frames or silent or not isinstance(entry.event, (*CONTENT_TYPES, Created))


@effort
@given(ended_logs)
def test_the_end_of_the_stream_is_what_a_get_answers(log: list[Entry]) -> None:
    """The same resource from the blocks of the log."""
    assert read(standing(log))[-1]["response"] == response_resource(SUBMISSION, **known(log))


@effort
@given(logs)
def test_a_get_in_between_is_what_the_stream_has_told(log: list[Entry]) -> None:
    """Whatever is finished is the same; the rest is in progress."""
    for at in range(1, len(log)):
        whole = response_resource(SUBMISSION, **known(log[:at]))
        assert whole["status"] == "in_progress"
        events = read(standing(log[:at]))
        added = {e["output_index"]: e["item"]["id"] for e in events if e["type"].endswith("item.added")}
        done = {e["output_index"]: e["item"] for e in events if e["type"].endswith("item.done")}
        assert [item["id"] for item in whole["output"]] == [added[n] for n in sorted(added)]
        for index, item in enumerate(whole["output"]):
            assert done.get(index, item) == item
            assert index in done or item.get("status", "in_progress") == "in_progress"


@effort
@given(logs, st.integers(1, 7))
def test_starting_after_finds_the_place_of_every_number(log: list[Entry], size: int) -> None:
    """Each frame's own place; void is what a restart voids; what is not there is not found."""
    places: dict[int, Cursor] = {}
    void: set[int] = set()
    attempt: list[int] = []
    at = Cursor()
    for entry, state, frames in steps(log):
        numbers = [event["sequence_number"] for event in read(frames)]
        places |= {number: Cursor(entry.position, k) for k, number in enumerate(numbers, 1)}
        if numbers:
            places[numbers[-1]] = Cursor(entry.position)
        if restarts(entry):
            spare = [number for number in range(state.sequence) if number not in places]
            places |= dict.fromkeys(spare, at)
            void |= {*attempt, *spare}
            attempt = []
        attempt += numbers if isinstance(entry.event, CONTENT_TYPES) else []
        at = Cursor(entry.position)
    for number in range(len(places) + 2):
        search = SequenceSearch(ResponsesFold(SUBMISSION), number)
        for start in range(0, len(log), size):
            search.feed(log[start : start + size])
        assert (search.cursor, search.void) == (places.get(number), number in void)
