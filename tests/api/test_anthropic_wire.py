"""What Anthropic's Messages wire says of a log, block by block, and without a stream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from api.formats.anthropic import AnthropicFold
from api.formats.anthropic_answer import message_answer
from broker.content import Block
from broker.dialects.sealed import unseal
from broker.events import (
    Cancelled,
    Completed,
    Created,
    Entry,
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
from broker.values import CancelReason, ErrorInfo, FinishReason, Usage
from tests.api.folding import answer_of, built_content, completed_logs, data_of, end_of, frames_of, numbered, submission
from tests.contracts.formats import effort
from tests.contracts.stage import said
from tests.support.whatwg import parse

GOLDENS = Path(__file__).resolve().parents[1] / "goldens"
BEGIN: list[Event] = [Created({}), Started(1, "restart", "anthropic", "m")]
HELLO: list[Event] = [TextDelta(0, "Hel"), TextDelta(0, "lo")]
CALL: list[Event] = [
    ToolCallStarted(1, "toolu_1", "get_weather"),
    *(ToolCallDelta(1, "toolu_1", piece) for piece in ("", '{"city":', '"Paris"}')),
    ToolCallCompleted(1, "toolu_1", "get_weather", '{"city":"Paris"}'),
]


def told(*events: Event) -> list[dict[str, Any]]:
    """The JSON of each frame."""
    return [json.loads(one) for one in data_of(frames_of(AnthropicFold(submission()), numbered([*BEGIN, *events])))]


def outline(*events: Event) -> list[tuple[Any, ...]]:
    """Kind, index and what is new in each frame of a block."""
    rows: list[tuple[Any, ...]] = []
    for row in told(*events)[1:]:
        what: dict[str, Any] = row.get("content_block") or row.get("delta") or {}
        if "index" in row:
            rows.append((row["type"].removeprefix("content_block_"), row["index"], *list(what.values())[:2]))
    return rows


def end(reason: FinishReason, word: str | None = None, tokens: int = 5) -> Completed:
    """An end as Anthropic gives it."""
    return Completed(reason, word, None, Usage(3, tokens))


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
    assert message_answer(submission(), blocks, "openai-responses", end("stop"))["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": signature},
        {"type": "redacted_thinking", "data": data},
        {"type": "thinking", "thinking": "so", "signature": ""},
    ]


@pytest.mark.parametrize(
    ("provider", "completed", "reason", "sequence"),
    [
        ("anthropic", Completed("stop"), "end_turn", None),
        ("anthropic", Completed("length"), "max_tokens", None),
        ("openai", Completed("refusal"), "refusal", None),
        ("openai", Completed("content_filter"), "refusal", None),
        ("openai", Completed("tool_calls", "tool_calls"), "tool_use", None),
        *((name, Completed("stop", "stop_sequence", "\n"), "stop_sequence", "\n") for name in ("openai", "anthropic")),
        ("anthropic", Completed("stop", "pause_turn"), "pause_turn", None),
        ("anthropic", Completed("length", "model_context_window_exceeded"), "model_context_window_exceeded", None),
        ("vllm", Completed("stop", "pause_turn"), "end_turn", None),
        ("anthropic", Completed("stop", "end_soon", "x"), "stop_sequence", "x"),
        ("anthropic", Completed("tool_calls", "tool_use", "x"), "tool_use", None),
    ],
)  # fmt: skip
def test_each_end_has_a_stop_reason(provider: str, completed: Completed, reason: str, sequence: str | None) -> None:
    """Anthropic's own words are passed on where they are Anthropic's."""
    stop = {"stop_reason": reason, "stop_sequence": sequence}
    assert told(Started(2, "restart", provider, "m"), completed)[-2]["delta"] == stop
    answer = message_answer(submission(), [], provider, completed)
    assert {name: answer[name] for name in stop} == stop


@pytest.mark.parametrize(("provider", "prompt"), [("openai", 10), ("anthropic", 17)])
def test_the_prompt_is_counted_as_anthropic_counts_it(provider: str, prompt: int) -> None:
    """Without what came from the cache and what went in; a count of nobody is no count."""
    completed = Completed("stop", usage=Usage(17, 4, 5, 2, 1))
    usage = {
        "input_tokens": prompt,
        "output_tokens": 4,
        "cache_creation_input_tokens": 2,
        "cache_read_input_tokens": 5,
        "output_tokens_details": {"thinking_tokens": 1},
    }
    assert told(Started(2, "restart", provider, "m"), completed)[-2]["usage"] == usage
    assert message_answer(submission(), [], provider, completed)["usage"] == usage
    nothing = {"input_tokens": 0, "output_tokens": 0}
    assert [
        message_answer(submission(), [], provider, Completed("stop", usage=u))["usage"] for u in (None, Usage())
    ] == [
        nothing,
        nothing,
    ]


@pytest.mark.parametrize(
    ("code", "word"),
    [
        *(("provider_rate_limited", "rate_limit_error"), ("provider_overloaded", "overloaded_error")),
        *(("provider_stalled", "timeout_error"), ("context_length_exceeded", "invalid_request_error")),
        *(("provider_auth", "api_error"), ("worker_lost", "api_error")),
    ],
)
def test_a_failure_is_one_of_anthropics_errors(code: str, word: str) -> None:
    """And the last that is said."""
    failed = Failed(ErrorInfo(code, "why"))
    error = {"type": "error", "error": {"type": word, "message": "why"}}
    assert [told(*HELLO, failed)[-1], message_answer(submission(), [Block("text", "x")], "openai", failed)] == [
        error
    ] * 2


@pytest.mark.parametrize(("reason", "word"), [("client", "api_error"), ("deadline", "timeout_error")])
def test_a_cancel_is_an_error_too(reason: CancelReason, word: str) -> None:
    """This wire has no other word for it."""
    error = told(Cancelled(reason))[-1]["error"]
    assert (error["type"], reason in error["message"]) == (word, True)


def test_a_void_attempt_is_an_error_without_an_end() -> None:
    """The client must not take what it holds for an answer."""
    fold = AnthropicFold(submission())
    (frame,) = data_of(fold.void(fold.start()))
    assert json.loads(frame)["error"]["type"] == "api_error"


def test_a_call_that_broke_off_has_no_arguments_in_the_answer() -> None:
    """Half of them would be other arguments."""
    block = Block("tool_call", '{"path":"/tmp', call_id="a", name="rm")
    assert message_answer(submission(), [block], "anthropic", end("length"))["content"][0]["input"] == {}


@effort
@given(completed_logs)
def test_without_a_stream_the_answer_is_the_same(log: list[Entry]) -> None:
    """Block for block what the stream builds up."""
    content, whole = answer_of(log), said(log)
    answer = message_answer(submission(), content.blocks(), content.provider, end_of(log))
    frames = [json.loads(one) for one in data_of(frames_of(AnthropicFold(submission()), log))]
    assert answer["content"] == built_content(frames)
    assert {**answer, "content": [], "stop_reason": None, "stop_sequence": None} == {
        **frames[0]["message"],
        "usage": frames[-2]["usage"],
    }
    inputs = [block["input"] for block in answer["content"] if block["type"] == "tool_use"]
    assert inputs == [json.loads(arguments) for _, _, arguments, _ in whole.tools]
