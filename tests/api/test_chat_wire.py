"""What Chat Completions says of a log, chunk by chunk, and without a stream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from api.formats.openai_chat import ChatFold
from api.formats.openai_chat_answer import chat_answer
from broker.content import Block
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
from broker.request import Wire
from broker.values import ErrorInfo, FinishReason, Usage
from tests.api.folding import answer_of, completed_logs, data_of, end_of, frames_of, numbered, submission
from tests.contracts.formats import effort
from tests.contracts.stage import said

GOLDENS = Path(__file__).resolve().parents[1] / "goldens"
ASKED = Wire(dialect="openai.chat", echo={"include_usage": True})
SILENT = Wire(dialect="openai.chat")
BEGIN: list[Event] = [Created({}), Started(1, "restart", "openai", "m")]
DONE = Completed("stop", "stop", None, Usage(3, 2))


def told(*events: Event, wire: Wire | None = SILENT) -> list[Any]:
    """The JSON of each frame; the end mark as it is."""
    data = data_of(frames_of(ChatFold(submission(wire)), numbered([*BEGIN, *events])))
    return [one if one == "[DONE]" else json.loads(one) for one in data]


def deltas(*events: Event) -> list[Any]:
    """What the chunks after the opening add."""
    return [one["choices"][0]["delta"] for one in told(*events)[1:]]


@pytest.mark.parametrize(
    ("golden", "events", "wire"),
    [
        ("text", [TextDelta(0, "Hel"), TextDelta(0, "lo"), DONE], SILENT),
        ("text_usage", [TextDelta(0, "Hel"), TextDelta(0, "lo"), DONE], ASKED),
        ("error", [TextDelta(0, "Hel"), Failed(ErrorInfo("server_error", "upstream died"))], SILENT),
    ],
)
def test_the_chunks_are_those_that_the_clients_were_run_on(golden: str, events: list[Event], wire: Wire) -> None:
    """Key by key; only the prefix of the id is another one."""
    lines = (GOLDENS / f"chat_{golden}.jsonl").read_text().replace("chatcmpl_1", "chatcmpl-1").splitlines()
    rows = [line if line == "[DONE]" else json.loads(line) for line in lines]
    assert told(*events, wire=wire) == rows + ["[DONE]"] * (golden == "error")


def test_nothing_of_the_opening_depends_on_the_attempt() -> None:
    """It is there before anybody has taken the log."""
    opening = frames_of(ChatFold(submission()), numbered(BEGIN[:1]))
    assert len(opening) == 1
    assert frames_of(ChatFold(submission()), numbered([*BEGIN, Retrying(1, 1.0, ErrorInfo("x", "y"))])) == opening


def test_reasoning_and_refusals_have_fields_of_their_own() -> None:
    """A signature and an opaque thought have none: there is no chunk for them."""
    assert deltas(
        ReasoningDelta(0, "hm"),
        ReasoningDelta(0, "", signature="c2ln"),
        ReasoningDelta(1, "so", signature="c2ln"),
        ReasoningDelta(2, "", opaque="xx"),
        RefusalDelta(3, "No."),
    ) == [{"reasoning_content": "hm"}, {"reasoning_content": "so"}, {"refusal": "No."}]


def test_tool_calls_are_told_by_the_order_of_their_start() -> None:
    """Fragments may come side by side; the end of a call makes a chunk only where fragments were missing."""
    heard = deltas(
        ToolCallStarted(0, "call_1", "get_weather"),
        ToolCallStarted(1, "call_2", "get_time"),
        ToolCallDelta(1, "call_2", '{"a"'),
        ToolCallDelta(0, "call_1", '{"city":"Paris"}'),
        ToolCallDelta(1, "call_2", ":"),
        ToolCallCompleted(0, "call_1", "get_weather", '{"city":"Paris"}'),
        ToolCallCompleted(1, "call_2", "get_time", '{"a":1}'),
    )
    calls = [delta["tool_calls"][0] for delta in heard]
    assert calls[0] == {
        "index": 0,
        "id": "call_1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": ""},
    }
    assert [(call["index"], call["function"]["arguments"]) for call in calls] == [
        *((0, ""), (1, ""), (1, '{"a"'), (0, '{"city":"Paris"}'), (1, ":"), (1, "1}")),
    ]


def test_arguments_that_were_said_otherwise_are_not_said_again() -> None:
    """The same JSON in other words would follow the first words: that is no JSON."""
    said_otherwise = [ToolCallDelta(0, "c", "{ }"), ToolCallCompleted(0, "c", "f", "{}")]
    assert len(deltas(ToolCallStarted(0, "c", "f"), *said_otherwise)) == 2


@pytest.mark.parametrize(
    ("reason", "refusal", "word"),
    [
        *(("stop", "", "stop"), ("length", "", "length"), ("tool_calls", "", "tool_calls")),
        *(("content_filter", "", "content_filter"), ("refusal", "No.", "stop"), ("refusal", "", "content_filter")),
    ],
)
def test_each_end_has_a_finish_reason(reason: FinishReason, refusal: str, word: str) -> None:
    """In the stream and without one; words of refusal in a void attempt are not this answer's."""
    events: list[Event] = [RefusalDelta(0, "void"), Started(2, "restart", "openai", "m"), RefusalDelta(0, refusal)]
    end = Completed(reason)
    assert told(*events, end)[-2]["choices"] == [{"index": 0, "delta": {}, "finish_reason": word}]
    answer = chat_answer(submission(), [Block("refusal", refusal)], "openai", end)
    assert answer["choices"][0]["finish_reason"] == word


@pytest.mark.parametrize(
    ("wire", "says"),
    [
        *(
            (ASKED, True),
            (SILENT, False),
            (None, True),
            (Wire(dialect="anthropic", echo={"include_usage": False}), True),
        ),
        (Wire(dialect="openai.chat", echo={"include_usage": False}), False),
    ],
)
def test_usage_is_said_where_it_was_asked_for(wire: Wire | None, says: bool) -> None:
    """Who asked in another dialect had no way to ask for it and gets it."""
    chunks = told(TextDelta(0, "x"), DONE, wire=wire)[:-1]
    assert all(("usage" in chunk) == says for chunk in chunks)
    counts = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert [c["usage"] for c in chunks if not c["choices"]] == [counts] * says


def test_usage_that_nobody_counted_is_not_made_up() -> None:
    """OpenAI itself leaves the chunk out when there is none."""
    assert told(Completed("stop"), wire=ASKED)[1:] == [*told(DONE, wire=ASKED)[1:2], "[DONE]"]
    assert "usage" not in chat_answer(submission(), [], "openai", Completed("stop"))


@pytest.mark.parametrize(("provider", "prompt"), [("openai", 10), ("anthropic", 17)])
def test_the_prompt_is_counted_as_openai_counts_it(provider: str, prompt: int) -> None:
    """Anthropic leaves out what came from its cache and what went in."""
    usage = chat_answer(submission(), [], provider, Completed("stop", usage=Usage(10, 4, 5, 2, 1)))["usage"]
    assert usage == {
        "prompt_tokens": prompt,
        "completion_tokens": 4,
        "total_tokens": prompt + 4,
        "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    chunks = told(Started(2, "restart", provider, "m"), Completed("stop", usage=Usage(10, 4, 5, 2, 1)), wire=ASKED)
    assert chunks[-2]["usage"] == usage


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (Cancelled("client"), ("invalid_request_error", "cancelled")),
        (Failed(ErrorInfo("provider_rate_limited", "slow")), ("rate_limit_error", "provider_rate_limited")),
        (Failed(ErrorInfo("context_length_exceeded", "long")), ("invalid_request_error", "context_length_exceeded")),
        (Failed(ErrorInfo("worker_lost", "died")), ("server_error", "worker_lost")),
    ],
)
def test_an_answer_that_did_not_become_whole_ends_in_an_error(end: Cancelled | Failed, error: tuple[str, str]) -> None:
    """And then in the end mark, so that a client which goes on reading knows that there is nothing more."""
    *_, body, done = told(TextDelta(0, "x"), end)
    assert (body["error"]["type"], body["error"]["code"]) == error
    assert (body["error"]["param"], bool(body["error"]["message"]), done) == (None, True, "[DONE]")
    assert chat_answer(submission(), [Block("text", "x")], "openai", end) == body


def test_a_void_attempt_is_an_error_without_an_end() -> None:
    """The client must not take what it holds for an answer, nor the end of the body for the end of the answer."""
    fold = ChatFold(submission())
    (frame,) = data_of(fold.void(fold.start()))
    assert json.loads(frame)["error"]["code"] == "restarted"


@effort
@given(completed_logs)
def test_without_a_stream_the_answer_is_the_same(log: list[Entry]) -> None:
    """What the blocks say, and what the log says."""
    content, whole = answer_of(log), said(log)
    answer = chat_answer(submission(), content.blocks(), content.provider, end_of(log))
    message = answer["choices"][0]["message"]
    assert (answer["id"], answer["object"], answer["created"]) == ("chatcmpl-1", "chat.completion", 1_760_000_000)
    assert [message["content"] or "", message["refusal"] or ""] == [whole.text, whole.refusal]
    assert message.get("reasoning_content", "") == whole.reasoning
    calls = [(one["id"], *one["function"].values()) for one in message.get("tool_calls", [])]
    assert calls == [tool[:3] for tool in whole.tools]


@pytest.mark.parametrize(
    ("blocks", "content"),
    [
        ([], ""),
        ([Block("reasoning", "Hm.")], ""),
        ([Block("refusal", "No.")], None),
        ([Block("tool_call", "{}", call_id="c", name="f", whole=True)], None),
    ],
)
def test_an_answer_without_a_word_is_an_empty_text(blocks: list[Block], content: str | None) -> None:
    """As OpenAI's are, of which thinking took all tokens; null stands beside calls and refusals only."""
    answer = chat_answer(submission(), blocks, "openai", Completed("length", "length", None, Usage(3, 2)))
    assert answer["choices"][0]["message"]["content"] == content
