"""How Anthropic's Messages wire ends, what it counts, and the answer without a stream."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given

from api.formats.anthropic import AnthropicFold
from api.formats.anthropic_answer import message_answer
from broker.content import Block
from broker.events import (
    Cancelled,
    Completed,
    Entry,
    Failed,
    Started,
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
)
from broker.values import CancelReason, ErrorInfo, Usage
from tests.api.anthropic_wire import HELLO, end, outline, told
from tests.api.folding import answer_of, built_content, completed_logs, data_of, end_of, frames_of, submission
from tests.contracts.formats import effort
from tests.contracts.stage import said


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
    doubtful = Completed("stop", usage=Usage(1, 1, 5))
    assert message_answer(submission(), [], "openai", doubtful)["usage"]["input_tokens"] == 0
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
        *(("provider_auth", "permission_error"), ("worker_lost", "api_error")),
    ],
)
def test_a_failure_is_one_of_anthropics_errors(code: str, word: str) -> None:
    """And the last that is said."""
    failed = Failed(ErrorInfo(code, "why"))
    error = {"type": "error", "error": {"type": word, "message": "why"}}
    assert [told(*HELLO, failed)[-1], message_answer(submission(), [Block("text", "x")], "openai", failed)] == [
        error
    ] * 2


@pytest.mark.parametrize(("reason", "word"), [("client", "invalid_request_error"), ("deadline", "timeout_error")])
def test_a_cancel_is_an_error_too(reason: CancelReason, word: str) -> None:
    """This wire has no other word for it; a client must not take it for a reason to try again."""
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
    assert message_answer(submission(), [block], "anthropic", end("length"))["content"][0]["input"] == msgspec.Raw(
        b"{}"
    )


@pytest.mark.parametrize("arguments", ['{"x":1e400}', '{"x":123456789012345678901234567890, "x":1.0}'])
def test_arguments_are_told_number_for_number(arguments: str) -> None:
    """Whatever Python would make of them."""
    call = [ToolCallStarted(0, "a", "f"), ToolCallDelta(0, "a", arguments)]
    assert outline(*call, TextDelta(1, "x"))[1:3] == [("delta", 0, "input_json_delta", arguments), ("stop", 0)]
    answer = message_answer(submission(), [Block("tool_call", arguments, name="f", whole=True)], "x", end("tool_calls"))
    assert f'"input":{arguments}}}'.encode() in msgspec.json.encode(answer)


def test_arguments_too_deep_to_read_stay_open() -> None:
    """Whether they are whole is said when the call completes."""
    deep = '{"x":' + "[" * 100_000 + "]" * 100_000 + "}"
    call = [ToolCallStarted(0, "a", "f"), ToolCallDelta(0, "a", deep)]
    assert [row[:2] for row in outline(*call, TextDelta(1, "x"), ToolCallCompleted(0, "a", "f", deep))] == [
        *(("start", 0), ("delta", 0), ("start", 1), ("delta", 1), ("stop", 0)),
    ]


@effort
@given(completed_logs)
def test_without_a_stream_the_answer_is_the_same(log: list[Entry]) -> None:
    """Block for block what the stream builds up."""
    content, whole = answer_of(log), said(log)
    body = msgspec.json.encode(message_answer(submission(), content.blocks(), content.provider, end_of(log)))
    answer = json.loads(body)
    frames = [json.loads(one) for one in data_of(frames_of(AnthropicFold(submission()), log))]
    assert answer["content"] == built_content(frames)
    assert {**answer, "content": [], "stop_reason": None, "stop_sequence": None} == {
        **frames[0]["message"],
        "usage": frames[-2]["usage"],
    }
    inputs = [block["input"] for block in answer["content"] if block["type"] == "tool_use"]
    assert inputs == [json.loads(arguments) for _, _, arguments, _ in whole.tools]
