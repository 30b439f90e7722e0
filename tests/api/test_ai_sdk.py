"""The UI message stream, chunk by chunk. wires.md, "AI SDK UI message stream"."""

from __future__ import annotations

from typing import Any

import pytest

from api.formats.ai_sdk import AiSdkFold
from api.formats.ai_sdk_chunks import provider_metadata, tool_input
from broker.events import Cancelled, Completed, Entry, Failed
from broker.position import Position
from broker.request import StoredRequest, Wire
from broker.submission import Submission
from broker.values import ErrorInfo, FinishReason
from tests.contracts.histories import EPOCH, GENERATION, write
from tests.contracts.test_ai_sdk_contract import DONE, chunks_of


def ended(end: Any, *content: Any) -> list[Any]:
    """The chunks behind the start of a log that says this and ends so."""
    log = write([("restart", 0, list(content), 0)], None)
    log.append(Entry(Position(EPOCH, len(log) + 1), end))
    return chunks_of(log)[2:]


def test_the_golden_message() -> None:
    """Reasoning, then text, then the end: the order in wires.md that the client was seen to accept."""
    log = write([("restart", 0, [(1, "thinking", 0), (0, "Hel", 0), (0, "lo", 0)], 0)], "completed")
    assert chunks_of(log) == [
        {
            "type": "start",
            "messageId": "msg_" + "1" * 28,
            "messageMetadata": {"generationId": GENERATION, "model": "demo/demo-1", "createdAt": EPOCH},
        },
        {"type": "start-step"},
        {"type": "reasoning-start", "id": "r1"},
        {"type": "reasoning-delta", "id": "r1", "delta": "thinking"},
        {"type": "reasoning-end", "id": "r1"},
        {"type": "text-start", "id": "t2"},
        {"type": "text-delta", "id": "t2", "delta": "Hel"},
        {"type": "text-delta", "id": "t2", "delta": "lo"},
        {"type": "text-end", "id": "t2"},
        {"type": "finish-step"},
        {
            "type": "finish",
            "finishReason": "stop",
            "messageMetadata": {
                "providerFinishReason": "end_turn",
                "stopSequence": "\n",
                "usage": {
                    "inputTokens": 3,
                    "outputTokens": 7,
                    "totalTokens": 10,
                    "inputTokenDetails": {},
                    "outputTokenDetails": {},
                },
                "timing": {"queueMs": 1, "ttftMs": 2, "durationMs": 3, "tokensPerSecond": 4.5},
            },
        },
        DONE,
    ]


def test_a_restart_takes_back_the_step_and_numbers_its_parts_on() -> None:
    """A transport drops the parts whose start it has seen before, so that no number comes twice."""
    log = write([("restart", 0, [(0, "void", 0)], 0), ("restart", 0, [(0, "x", 0)], 0)], None)
    assert chunks_of(log)[4:] == [
        {"type": "reset-step"},
        {"type": "text-start", "id": "t2"},
        {"type": "text-delta", "id": "t2", "delta": "x"},
    ]


def test_a_failure_tells_its_code_before_the_error_and_finishes_after_it() -> None:
    """Behind an error useChat reads nothing; a WorkflowChatTransport asks again and again until there is a finish."""
    assert ended(Failed(ErrorInfo("provider_overloaded", "full", True, 529)), (0, "a", 0))[2:] == [
        {"type": "text-end", "id": "t1"},
        {"type": "message-metadata", "messageMetadata": {"error": {"code": "provider_overloaded", "retryable": True}}},
        {"type": "error", "errorText": "full"},
        {"type": "finish-step"},
        {"type": "finish", "finishReason": "error"},
        DONE,
    ]


def test_a_cancelled_answer_closes_what_is_open() -> None:
    """A call whose arguments never came to an end must not look as if they were still coming."""
    assert ended(Cancelled("client"), (2, "Par", 0))[3:] == [
        {
            "type": "tool-input-error",
            "toolCallId": "call 0",
            "toolName": "wéather",
            "input": '{"a":"Par',
            "errorText": "The tool call was not completed.",
        },
        {"type": "abort", "reason": "client"},
        {"type": "finish-step"},
        {"type": "finish", "finishReason": "other"},
        DONE,
    ]


def test_what_was_cancelled_before_it_began_has_no_step() -> None:
    """A finish alone."""
    log = write([], "cancelled")
    assert [chunk if chunk == DONE else chunk["type"] for chunk in chunks_of(log)] == ["start", "abort", "finish", DONE]


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool-calls"),
        ("content_filter", "content-filter"),
        ("refusal", "content-filter"),
    ],
)
def test_finish_reasons_have_the_sdks_names(reason: FinishReason, told: str) -> None:
    """An unknown one is fatal to the client."""
    assert ended(Completed(reason), (5, "No.", 0))[-2] == {"type": "finish", "finishReason": told}


@pytest.mark.parametrize(
    ("arguments", "kind", "value"),
    [
        (
            '{\n "n": 1.50, "big": 12345678901234567890123 }\r\n',
            "available",
            b'{"n":1.50,"big":12345678901234567890123}',
        ),
        ("", "available", b"{}"),
        ("[1]", "available", b"[1]"),
        ('{"a":', "error", b'"{\\"a\\":"'),
        ('{"a":{"__proto__":{}}}', "error", b'"{\\"a\\":{\\"__proto__\\":{}}}"'),
        ('[{"constructor":{"prototype":1}}]', "error", b'"[{\\"constructor\\":{\\"prototype\\":1}}]"'),
        ('{"half": "\\ud83e"}', "available", b'{"half":"\\ud83e"}'),
        ('{"n":NaN}', "error", b'"{\\"n\\":NaN}"'),
        ('{"constructor":"builder"}', "available", b'{"constructor":"builder"}'),
        ("[" * 5000, "error", b'"' + b"[" * 5000 + b'"'),
    ],
)
def test_the_input_of_a_tool_is_its_json_or_an_error(arguments: str, kind: str, value: bytes) -> None:
    """On one line and with all digits; what the client's reader would die of is told as text."""
    frame = tool_input("c", "f", arguments)
    assert frame.startswith(
        b'data: {"type":"tool-input-%b","toolCallId":"c","toolName":"f","input":%b' % (kind.encode(), value)
    )
    assert frame.index(b"\n") == len(frame) - 2


def test_redacted_thinking_of_anthropics_has_the_name_its_own_package_gives_it() -> None:
    """So that a client that turns to that package finds it."""
    assert provider_metadata("anthropic", "opaque", "xx") == {"anthropic": {"redactedData": "xx"}}
    assert provider_metadata("anthropic", "signature", "s") == {"anthropic": {"signature": "s"}}
    assert provider_metadata("openai-responses", "opaque", "xx") == {"openai-responses": {"opaque": "xx"}}


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        (Wire(dialect="ai-sdk", echo={"chat": "c", "message": "m7"}), "m7"),
        (Wire(dialect="ai-sdk", echo={"chat": "c", "message": None}), "msg_1"),
        (Wire(dialect="anthropic", echo={"message": "m7"}), "msg_1"),
        (None, "msg_1"),
    ],
)
def test_a_message_that_is_gone_on_with_keeps_its_id(wire: Wire | None, message: str) -> None:
    """Under another id, useChat would show it twice."""
    request = StoredRequest.model_validate({"model": "demo/demo-1", "input": "x", "wire": wire})
    log = write([], None)
    assert chunks_of(log, Submission("gen_1", "demo/demo-1", 1.5, request=request))[0]["messageId"] == message


def test_the_format_is_named_in_a_header() -> None:
    """As the AI SDK's own servers do."""
    assert list(AiSdkFold.headers) == [(b"x-vercel-ai-ui-message-stream", b"v1")]
