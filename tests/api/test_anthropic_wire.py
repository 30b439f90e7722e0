"""What Anthropic's Messages wire says of a log, block by block."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.formats.anthropic import AnthropicFold
from api.formats.anthropic_answer import message_answer
from broker.content import Block
from broker.dialects.sealed import unseal
from broker.events import (
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
from broker.values import ErrorInfo
from tests.api.anthropic_wire import BEGIN, CALL, HELLO, end, outline, told
from tests.api.folding import frames_of, numbered, submission
from tests.support.whatwg import parse

GOLDENS = Path(__file__).resolve().parents[1] / "goldens"


@pytest.mark.parametrize(
    ("golden", "events"),
    [
        ("text", [*HELLO, end("stop", "end_turn")]),
        (
            "thinking_text",
            [
                *(ReasoningDelta(0, piece) for piece in ("thin", "king")),
                *(ReasoningDelta(0, "", signature="c2ln"), TextDelta(1, "Hel"), TextDelta(1, "lo")),
                end("stop", "end_turn"),
            ],
        ),
        ("redacted_thinking", [ReasoningDelta(0, "", opaque="xx"), *HELLO, end("stop", "end_turn")]),
        ("max_tokens", [*HELLO, end("length")]),
        ("refusal", [*(RefusalDelta(0, piece) for piece in ("Hel", "lo")), end("refusal")]),
        ("tool_use", [*HELLO, *CALL, end("tool_calls", tokens=9)]),
        ("error_mid", [HELLO[0], Failed(ErrorInfo("provider_overloaded", "Overloaded"))]),
    ],
)
def test_the_blocks_are_those_that_the_clients_were_run_on(golden: str, events: list[Event]) -> None:
    """Key by key; ours say the tokens of the prompt at the end, and need no ping."""
    rows = [json.loads(line) for line in (GOLDENS / f"anthropic_{golden}.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["type"] != "ping"]
    rows[0]["message"]["usage"] = {"input_tokens": 0, "output_tokens": 0}
    if rows[-1]["type"] == "message_stop":
        rows[-2]["usage"]["input_tokens"] = 3
    assert told(*events) == rows


def test_every_frame_names_its_type_as_its_event() -> None:
    """Both SDKs drop a frame without it."""
    thought = [ReasoningDelta(0, "a", signature="s"), ReasoningDelta(1, "", opaque="o")]
    frames = frames_of(AnthropicFold(submission()), numbered([*BEGIN, *thought, *HELLO, *CALL, end("stop")]))
    events = [event for frame in frames for event in parse(frame)]
    assert [event.type for event in events] == [json.loads(event.data)["type"] for event in events]


def test_nothing_of_the_opening_depends_on_the_attempt() -> None:
    """It is there before anybody has taken the log."""
    opening = frames_of(AnthropicFold(submission()), numbered(BEGIN[:1]))
    assert len(opening) == 1
    retried = numbered([*BEGIN, Retrying(1, 1.0, ErrorInfo("x", "y"))])
    assert frames_of(AnthropicFold(submission()), retried) == opening


def test_prose_is_one_block_until_something_else_begins() -> None:
    """Another kind, another block of the log, a signature or a tool call; a continued attempt is nothing else."""
    assert [row[:2] for row in outline(
        *(TextDelta(0, "a"), Started(2, "continue", "anthropic", "m"), TextDelta(0, ""), TextDelta(1, "b")),
        *(RefusalDelta(1, "c"), ReasoningDelta(2, "d", signature="s"), ReasoningDelta(2, "e")),
        *(ToolCallStarted(3, "c", "f"), ReasoningDelta(2, "g")),
    )] == [
        *(("start", 0), ("delta", 0), ("delta", 0), ("stop", 0), ("start", 1), ("delta", 1), ("stop", 1)),
        *(("start", 2), ("delta", 2), ("stop", 2), ("start", 3), ("delta", 3), ("delta", 3), ("stop", 3)),
        *(("start", 4), ("delta", 4), ("stop", 4), ("start", 5), ("start", 6), ("delta", 6)),
    ]  # fmt: skip


def test_a_restart_begins_again_at_the_first_index() -> None:
    """Blocks of a void attempt are nobody's."""
    assert outline(*HELLO, Started(2, "restart", "openai", "m"), TextDelta(0, "x")) == [
        *(("start", 0, "text", ""), ("delta", 0, "text_delta", "x")),
    ]


def test_a_call_that_is_whole_ends_before_the_next_block_begins() -> None:
    """OpenAI's adapters say only at the end that calls are complete; helpers want one block after the other."""
    assert outline(
        *(ToolCallStarted(0, "a", "f"), ToolCallDelta(0, "a", '{"x":{}'), ToolCallDelta(0, "a", "} ")),
        *(ToolCallStarted(1, "b", "g"), ToolCallDelta(1, "b", "{}"), TextDelta(2, "x")),
        *(ToolCallDelta(0, "a", "\n"), ToolCallCompleted(0, "a", "f", '{"x":{}} \n')),
        *(ToolCallCompleted(1, "b", "g", "{}"), end("tool_calls")),
    ) == [
        *(("start", 0, "tool_use", "a"), ("delta", 0, "input_json_delta", '{"x":{}')),
        *(("delta", 0, "input_json_delta", "} "), ("stop", 0), ("start", 1, "tool_use", "b")),
        *(("delta", 1, "input_json_delta", "{}"), ("stop", 1), ("start", 2, "text", "")),
        *(("delta", 2, "text_delta", "x"), ("stop", 2)),
    ]


def test_calls_that_grow_side_by_side_stay_open_side_by_side() -> None:
    """Each has its index; what the fragments left out is said before its end."""
    assert outline(
        *(ToolCallStarted(0, "a", "f"), ToolCallDelta(0, "a", '{"x":"}'), ToolCallStarted(1, "b", "g")),
        *(
            ToolCallDelta(0, "a", '"'),
            ToolCallCompleted(0, "a", "f", '{"x":"}"}'),
            ToolCallCompleted(1, "b", "g", "{}"),
        ),
    ) == [
        *(("start", 0, "tool_use", "a"), ("delta", 0, "input_json_delta", '{"x":"}'), ("start", 1, "tool_use", "b")),
        *(("delta", 0, "input_json_delta", '"'), ("delta", 0, "input_json_delta", "}"), ("stop", 0)),
        *(("delta", 1, "input_json_delta", "{}"), ("stop", 1)),
    ]


def test_only_an_object_is_known_to_be_whole() -> None:
    """A number may go on."""
    began = [ToolCallStarted(0, "a", "f"), ToolCallDelta(0, "a", "1"), TextDelta(1, "x"), ToolCallDelta(0, "a", "2")]
    assert outline(*began, ToolCallCompleted(0, "a", "f", "12"))[-2:] == [
        *(("delta", 0, "input_json_delta", "2"), ("stop", 0)),
    ]


def test_an_empty_piece_is_a_piece() -> None:
    """So that the frames before its own are the same when it is joined with the next one."""
    for delta in (TextDelta(0, ""), ReasoningDelta(0, ""), RefusalDelta(0, "")):
        assert [row[:2] for row in outline(delta)] == [("start", 0), ("delta", 0)]


def test_what_broke_off_ends_before_the_message_does() -> None:
    """A call that was cut short, and the prose after it."""
    cut = [ToolCallStarted(0, "a", "f"), ToolCallDelta(0, "a", '{"x'), TextDelta(1, "y"), end("length")]
    assert [row["type"] for row in told(*cut)[-4:]] == [*["content_block_stop"] * 2, "message_delta", "message_stop"]
    assert outline(*cut)[-2:] == [("stop", 0), ("stop", 1)]


def test_what_another_provider_signed_is_sealed() -> None:
    """So that it goes back to nobody else."""
    thoughts = [ReasoningDelta(0, "hm", signature="c2ln"), ReasoningDelta(1, "", opaque="xx")]
    rows = outline(Started(2, "restart", "openai-responses", "m"), *thoughts)
    (signature,) = [row[3] for row in rows if row[2:3] == ("signature_delta",)]
    (data,) = [row[3] for row in rows if row[2:3] == ("redacted_thinking",)]
    assert unseal(signature, "signature", home="anthropic") == ("openai-responses", "signature", "c2ln")
    assert unseal(data, "opaque", home="anthropic") == ("openai-responses", "opaque", "xx")
    blocks = [Block("reasoning", "hm", "c2ln"), Block("reasoning", opaque="xx"), Block("reasoning", "so")]
    blocks.append(Block("reasoning", "", ""))
    assert message_answer(submission(), blocks, "openai-responses", end("stop"))["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": signature},
        {"type": "redacted_thinking", "data": data},
        {"type": "thinking", "thinking": "so", "signature": ""},
        {"type": "thinking", "thinking": "", "signature": "rj1.openai-responses.signature."},
    ]
