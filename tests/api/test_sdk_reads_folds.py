"""The vendors' own Python clients, unmodified, on the bytes that the folds make of generated logs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import msgspec
import pytest
from anthropic import Anthropic, APIStatusError
from anthropic.types import Message
from hypothesis import given
from openai import APIError, OpenAI
from openai.types.chat import ChatCompletion

from api.formats.anthropic import AnthropicFold
from api.formats.anthropic_answer import message_answer
from api.formats.base import Fold
from api.formats.openai_chat import ChatFold
from api.formats.openai_chat_answer import chat_answer
from api.sse import HEARTBEAT, encode_retry
from broker.events import (
    Completed,
    Created,
    Entry,
    Event,
    Started,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
)
from broker.merge import merge_entries
from tests.api.folding import answer_of, completed_logs, end_of, frames_of, numbered, submission
from tests.contracts.formats import effort
from tests.contracts.histories import write
from tests.contracts.stage import Said, said

BEGUN = [("restart", 0, [(0, "Hel", 0), (0, "lo", 0)], 0)]


def bodies(fold: Fold[Any], log: list[Entry]) -> Iterator[bytes]:
    """The same answer exact and merged, with ids, the reconnection time and heartbeats, as it goes over the wire."""
    for entries in (log, merge_entries(log)):
        frames = [b"id: 1-%d\n%b" % (n, frame) for n, frame in enumerate(frames_of(fold, entries))]
        yield encode_retry(1000) + HEARTBEAT.join(frames)


def as_json(answer: dict[str, Any]) -> dict[str, Any]:
    """The body of an answer, as its client reads it."""
    return json.loads(msgspec.json.encode(answer))


def serving(body: bytes, media_type: str = "text/event-stream") -> httpx2.Client:
    """A client of a server that answers everything with this."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": media_type}, content=body, request=request)

    return httpx2.Client(transport=httpx2.MockTransport(answer))


def openai(http: httpx2.Client) -> OpenAI:
    """OpenAI's client."""
    return OpenAI(api_key="k", base_url="http://h/v1", http_client=http, max_retries=0)


def anthropic(http: httpx2.Client) -> Anthropic:
    """Anthropic's client."""
    return Anthropic(api_key="k", base_url="http://h", http_client=http, max_retries=0)


def chat_said(completion: ChatCompletion) -> tuple[Any, ...]:
    """What OpenAI's client is left with."""
    message = completion.choices[0].message
    thought = (message.model_extra or {}).get("reasoning_content") or ""
    calls = [call.to_dict() for call in message.tool_calls or []]
    functions: list[Any] = [(call["id"], call["function"]) for call in calls]
    return (
        (message.content or "", message.refusal or "", thought),
        [(call_id, function["name"], function["arguments"]) for call_id, function in functions],
        completion.usage and completion.usage.total_tokens,
    )


def message_said(message: Message) -> tuple[Any, ...]:
    """What Anthropic's client is left with."""
    blocks = [block.to_dict() for block in message.content]
    prose = {kind: "".join(str(b[kind]) for b in blocks if b["type"] == kind) for kind in ("text", "thinking")}
    calls = [(block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]
    sealed = [block["data"] for block in blocks if block["type"] == "redacted_thinking"]
    return prose, calls, sealed, message.usage.output_tokens


def expected_chat(whole: Said) -> tuple[Any, ...]:
    """What the log says, for OpenAI's client."""
    return (whole.text, whole.refusal, whole.reasoning), [tool[:3] for tool in whole.tools], 10


def chat_stream(client: OpenAI, *tools: Any) -> ChatCompletion:
    """By the helper that builds up the answer."""
    with client.chat.completions.stream(model="m1", messages=[], tools=tools) as stream:
        return stream.get_final_completion()


@effort
@given(completed_logs)
def test_openai_builds_up_what_the_log_says(log: list[Entry]) -> None:
    """With its stream helper."""
    for body in bodies(ChatFold(submission()), log):
        completion = chat_stream(openai(serving(body)))
        assert chat_said(completion) == expected_chat(said(log))
        assert completion.choices[0].finish_reason == "stop"


@effort
@given(completed_logs)
def test_openai_reads_each_chunk(log: list[Entry]) -> None:
    """Without the helper: one chunk for each of our frames but the end mark."""
    for body in bodies(ChatFold(submission()), log):
        chunks = list(openai(serving(body)).chat.completions.create(model="m1", messages=[], stream=True))
        assert len(chunks) == body.count(b"\ndata: ") - 1
        assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == said(log).text
        assert [chunk.object for chunk in chunks] == ["chat.completion.chunk"] * len(chunks)


@effort
@given(completed_logs)
def test_anthropic_builds_up_what_the_log_says(log: list[Entry]) -> None:
    """With its stream helper: block for block what is told without a stream."""
    content = answer_of(log)
    whole = as_json(message_answer(submission(), content.blocks(), content.provider, end_of(log)))
    for body in bodies(AnthropicFold(submission()), log):
        with anthropic(serving(body)).messages.stream(model="m1", max_tokens=9, messages=[]) as stream:
            message = stream.get_final_message()
        assert [block.to_dict() for block in message.content] == whole["content"]
        assert message_said(message)[-1] == 7
        assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "\n")


@effort
@given(completed_logs)
def test_anthropic_reads_each_event(log: list[Entry]) -> None:
    """Without the helper: one event for each of our frames."""
    for body in bodies(AnthropicFold(submission()), log):
        content = answer_of(log).blocks()
        stream = anthropic(serving(body)).messages.create(model="m1", max_tokens=9, messages=[], stream=True)
        events = list(stream)
        assert len(events) == body.count(b"\ndata: ")
        deltas = [event.delta for event in events if event.type == "content_block_delta"]
        text = "".join(delta.text for delta in deltas if delta.type == "text_delta")
        assert text == "".join(block.text for block in content if block.kind in ("text", "refusal"))


@effort
@given(completed_logs)
def test_both_read_the_answer_without_a_stream(log: list[Entry]) -> None:
    """The same as with one."""
    content, whole = answer_of(log), said(log)
    chat = chat_answer(submission(), content.blocks(), content.provider, end_of(log))
    client = openai(serving(json.dumps(chat).encode(), "application/json"))
    assert chat_said(client.chat.completions.create(model="m1", messages=[])) == expected_chat(whole)
    body = as_json(message_answer(submission(), content.blocks(), content.provider, end_of(log)))
    http = serving(json.dumps(body).encode(), "application/json")
    message = anthropic(http).messages.create(model="m1", max_tokens=9, messages=[])
    prose, calls, sealed, tokens = message_said(message)
    assert prose == {
        "text": "".join(b["text"] for b in body["content"] if b["type"] == "text"),
        "thinking": whole.reasoning,
    }
    assert calls == [(call_id, name, json.loads(arguments)) for call_id, name, arguments, _ in whole.tools]
    assert (len(sealed), tokens) == (len([opaque for _, opaque in whole.signed if opaque is not None]), 7)


def test_openai_reads_strict_calls_one_after_the_other() -> None:
    """Its helper parses a strict call when the next one begins, long before the adapter says that it is complete."""
    strict: dict[str, Any] = {"name": "f", "strict": True, "parameters": {"type": "object", "properties": {}}}
    events: list[Event] = [Created({}), Started(1, "restart", "openai", "m")]
    for call_id in "ab":
        events += [
            ToolCallStarted(0, call_id, "f"),
            ToolCallDelta(0, call_id, '{"x":'),
            ToolCallDelta(0, call_id, "1}"),
        ]
    events += [*(ToolCallCompleted(0, call_id, "f", '{"x":1}') for call_id in "ab"), Completed("tool_calls")]
    for body in bodies(ChatFold(submission()), numbered(events)):
        completion = chat_stream(openai(serving(body)), {"type": "function", "function": strict})
        calls: list[Any] = [call.to_dict() for call in completion.choices[0].message.tool_calls or []]
        assert [call["function"]["parsed_arguments"] for call in calls] == [{"x": 1}] * 2


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_an_answer_that_did_not_become_whole_is_an_error_for_both(end: str) -> None:
    """Nobody takes it for a whole one."""
    for body in bodies(ChatFold(submission()), write(BEGUN, end)):
        with pytest.raises(APIError):
            chat_stream(openai(serving(body)))
    for body in bodies(AnthropicFold(submission()), write(BEGUN, end)):
        client = anthropic(serving(body))
        with (
            pytest.raises(APIStatusError),
            client.messages.stream(model="m1", max_tokens=9, messages=[]) as stream,
        ):
            stream.get_final_message()


def void_body(fold: Fold[Any]) -> bytes:
    """What a reader has got who is broken off because it holds a void attempt."""
    log = write(BEGUN, None)
    return b"".join([*frames_of(fold, log), *fold.void(fold.start())])


def test_a_void_attempt_is_an_error_for_both() -> None:
    """Also where a front makes a clean end of the broken body."""
    with pytest.raises(APIError):
        chat_stream(openai(serving(void_body(ChatFold(submission())))))
    client = anthropic(serving(void_body(AnthropicFold(submission()))))
    with pytest.raises(APIStatusError), client.messages.stream(model="m1", max_tokens=9, messages=[]) as stream:
        stream.get_final_message()
