"""What useChat posts, as the canonical request. Contract section 5; wires.md, "AI SDK UI message stream"."""

from __future__ import annotations

from typing import Any

import pytest

from broker.dialects.translated import Translated
from broker.dialects.ui import from_ui
from broker.errors import InvalidRequest

DATA_URL = "data:image/png;base64,iVBORw0KGgo="


def asked(*messages: Any, **fields: Any) -> Translated:
    """From these messages, which get ids, and these extra fields."""
    named = [{"id": f"m{n}", **message} for n, message in enumerate(messages)]
    return from_ui({"id": "chat", "trigger": "submit-message", "messages": named, **fields}, model="demo/demo-1")


def told(*messages: Any, **fields: Any) -> list[dict[str, Any]]:
    """The conversation, as JSON."""
    request = asked(*messages, **fields).request
    return [message.model_dump(exclude_none=True) for message in request.conversation()]


def says(role: str, *parts: Any) -> dict[str, Any]:
    """A message of text, or of parts as they are."""
    return {"role": role, "parts": [{"type": "text", "text": p} if isinstance(p, str) else p for p in parts]}


def call(state: str, **fields: Any) -> dict[str, Any]:
    """A part of a tool."""
    return {"type": "tool-look", "toolCallId": "c1", "state": state, "input": {"a": 1}, **fields}


STEP = {"type": "step-start"}
CALLED = {
    "role": "assistant",
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}],
}


def test_a_plain_question() -> None:
    """As DefaultChatTransport posts it; an app's own fields are left alone and named."""
    got = asked(says("user", "Hi"), theme="dark", model="demo/demo-2", maxOutputTokens=7)
    assert (got.ignored, got.stream) == (("theme",), True)
    assert got.request.model_dump(exclude_unset=True) == {
        "model": "demo/demo-2",
        "messages": [{"role": "user", "content": "Hi"}],
        "max_output_tokens": 7,
        "on_worker_loss": "continue",
        "wire": {"dialect": "ai-sdk", "echo": {"chat": "chat", "message": None}},
    }


def test_a_workflow_transport_names_no_chat() -> None:
    """It posts the messages alone."""
    got = from_ui({"messages": [says("user", "Hi")]}, model="demo/demo-1")
    assert got.request.wire is not None
    assert (got.request.wire.echo["chat"], got.request.model) == (None, "demo/demo-1")


def test_the_words_of_both_worlds() -> None:
    """An app's route handler says camelCase, our own request snake_case."""
    got = asked(
        says("user", "Hi"),
        system="Be brief.",
        topP=0.5,
        stopSequences=["x"],
        toolChoice={"type": "tool", "toolName": "look"},
        tools={"look": {"description": "d", "inputSchema": {"jsonSchema": {"type": "object"}}}},
        providerOptions={"k": 1},
        on_worker_loss="fail",
        rejoinder={"on_disconnect": {"cancel_after_s": 5}},
        metadata=None,
    ).request
    assert got.model_dump(exclude_unset=True, exclude={"messages", "wire", "model"}, exclude_none=True) == {
        "instructions": "Be brief.",
        "top_p": 0.5,
        "stop": ["x"],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "tools": [
            {"type": "function", "function": {"name": "look", "description": "d", "parameters": {"type": "object"}}}
        ],
        "provider_options": {"k": 1},
        "on_worker_loss": "fail",
        "on_disconnect": {"cancel_after_s": 5.0},
    }


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}},
        {"type": "function", "name": "look", "parameters": {"type": "object"}},
        {"name": "look", "inputSchema": {"type": "object"}},
    ],
)
def test_a_tool_in_each_of_its_forms(tool: dict[str, Any]) -> None:
    """OpenAI's two, and the AI SDK's."""
    tools = asked(says("user", "Hi"), tools=[tool]).request.tools or []
    assert [one.model_dump(exclude_none=True) for one in tools] == [
        {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    ]


def test_images_and_what_a_model_is_told_nothing_of() -> None:
    """The parts of an app's own are for its page."""
    image = {"type": "file", "mediaType": "image/png", "url": DATA_URL}
    assert told(says("user", "Look:", image, {"type": "data-x", "data": 1}), says("system", "a", "b")) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look:"},
                {"type": "image_url", "image_url": {"url": DATA_URL}},
            ],
        },
        {"role": "system", "content": "ab"},
    ]


def test_files() -> None:
    """By their data, or where they are."""
    pdf = {"type": "file", "mediaType": "application/pdf"}
    data = "data:application/pdf;base64,JVBERg=="
    asked = says("user", {**pdf, "url": data, "filename": "a.pdf"}, {**pdf, "url": "https://x/a.pdf"})
    assert told(asked)[0]["content"] == [
        {"type": "file", "file": {"filename": "a.pdf", "file_data": data}},
        {"type": "file", "file": {"file_url": "https://x/a.pdf"}},
    ]


def test_steps_keep_their_order() -> None:
    """What was said, what was called, what came of it; then the next step."""
    done = call("output-available", output={"n": [1, "é"]})
    source = {"type": "source-url", "sourceId": "s", "url": "https://x"}
    assert told(says("user", "Hi"), says("assistant", STEP, "Let me see.", done, source, STEP, "It is 1.")) == [
        {"role": "user", "content": "Hi"},
        {"content": "Let me see.", **CALLED},
        {"role": "tool", "tool_call_id": "c1", "content": '{"n":[1,"é"]}'},
        {"role": "assistant", "content": "It is 1."},
    ]


def test_a_message_that_was_put_in_between_two_steps_is_the_users() -> None:
    """The AI SDK calls it steering."""
    steering = {"type": "steering-message", "id": "s", "parts": [{"type": "text", "text": "Shorter!"}]}
    assert told(says("user", "Hi"), says("assistant", STEP, "Well,", steering, STEP, "No."))[1:] == [
        {"role": "assistant", "content": "Well,"},
        {"role": "user", "content": "Shorter!"},
        {"role": "assistant", "content": "No."},
    ]


@pytest.mark.parametrize(
    ("part", "result"),
    [
        (call("input-available"), None),
        (call("output-available", output="plain"), ("plain", None)),
        (call("output-available"), ("null", None)),
        (call("output-error", errorText="broke"), ("broke", True)),
        (call("output-denied", approval={"id": "a", "approved": False, "reason": "No!"}), ("No!", True)),
        (call("approval-requested", approval={"id": "a"}), None),
        (call("approval-responded", approval={"id": "a", "approved": True}), None),
        (call("approval-responded", approval={"id": "a", "approved": False}), ("Tool call execution denied.", True)),
        ({**call("output-available", output=0), "type": "dynamic-tool", "toolName": "look"}, ("0", None)),
    ],
)
def test_each_state_of_a_tool(part: dict[str, Any], result: tuple[str, bool | None] | None) -> None:
    """A call always comes, a result where there is one."""
    got = told(says("user", "Hi"), says("assistant", part))[1:]
    assert got[0] == CALLED
    assert [(one["content"], one.get("is_error")) for one in got[1:]] == ([] if result is None else [result])


@pytest.mark.parametrize("state", ["input-available", "approval-requested", "approval-responded"])
def test_a_call_that_nobody_answered_is_left_out_once_the_user_has_gone_on(state: str) -> None:
    """No provider takes a call without its result: the chat would be refused for ever."""
    done = {**call("output-available", output=1), "toolCallId": "c0"}
    part = call(state, approval={"id": "a", "approved": True})
    got = told(says("user", "Hi"), says("assistant", STEP, "a", done, part), says("user", "Never mind."))
    assert [one["role"] for one in got] == ["user", "assistant", "tool", "user"]
    assert [one["id"] for one in got[1]["tool_calls"]] == ["c0"]
    assert told(says("user", "Hi"), says("assistant", part), says("user", "So?"))[1:] == [
        {"role": "user", "content": "So?"}
    ]


def test_a_call_that_broke_off_is_told_without_its_broken_arguments() -> None:
    """No provider takes arguments that are no JSON; one that was still coming is nobody's."""
    broken = call("output-error", errorText="The tool call was not completed.", input='{"a":')
    got = told(says("user", "Hi"), says("assistant", "a", broken, call("input-streaming")))[1:]
    assert got[0]["tool_calls"] == [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
    assert [one["role"] for one in got] == ["assistant", "tool"]


@pytest.mark.parametrize(
    ("metadata", "kept"),
    [
        (None, {}),
        ({"x": {"itemId": "i"}}, {}),
        ({"anthropic": {"signature": "s"}}, {"signature": "s", "provider": "anthropic"}),
        ({"anthropic": {"redactedData": "xx"}}, {"opaque": "xx", "provider": "anthropic"}),
        ({"openai-responses": {"opaque": "xx"}}, {"opaque": "xx", "provider": "openai-responses"}),
    ],
)
def test_reasoning_comes_back_with_what_its_provider_made_of_it(metadata: Any, kept: dict[str, str]) -> None:
    """Byte for byte."""
    part = {"type": "reasoning", "text": "hm", "state": "done", "providerMetadata": metadata}
    got = told(says("user", "Hi"), says("assistant", STEP, part, "a"))[1]["content"][0]
    assert got == {"type": "reasoning", "text": "hm", **kept}


def test_an_answer_that_goes_on_with_a_message_belongs_to_it() -> None:
    """As after a tool of the client's has run; a new question or a regeneration makes a message of its own."""
    done = says("assistant", call("output-available", output=1))
    question = says("user", "Hi")

    def message(*messages: Any, **fields: Any) -> Any:
        wire = asked(*messages, **fields).request.wire
        assert wire is not None
        return wire.echo["message"]

    assert message(question, done) == "m1"
    assert message(question, done, question) is None
    assert message(question, done, trigger="regenerate-message", messageId="m1") is None


def test_a_regeneration_leaves_the_old_answer_out() -> None:
    """Also where the client still sends it; another one stays."""
    old = says("assistant", "old")
    again: dict[str, Any] = {"trigger": "regenerate-message", "messageId": "m1"}
    assert len(told(says("user", "Hi"), old, **again)) == 1
    assert len(told(says("user", "Hi"), **again)) == 1
    assert len(told(says("user", "Hi"), says("assistant", "a"), says("user", "b"), old, **again)) == 4


FILE = {"type": "file", "mediaType": "audio/mp3", "url": "https://x/a.mp3"}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": [1]}, "messages.0"),
    ({"messages": [{"role": "tool", "parts": []}]}, "messages.0.role"),
    ({"messages": [{"role": "user", "content": "x"}]}, "messages.0.parts"),
    ({"messages": [says("user")]}, "messages.0.parts"),
    ({"messages": [says("assistant")]}, "messages"),
    ({"messages": [says("user", {"text": "x"})]}, "messages.0.parts.0.type"),
    ({"messages": [says("user", {"type": "text"})]}, "messages.0.parts.0.text"),
    ({"messages": [says("user", "x", FILE)]}, "messages.0.parts.1.mediaType"),
    (
        {"messages": [says("user", {"type": "file", "mediaType": "image", "url": "http://x"})]},
        "messages.0.parts.0.url",
    ),
    ({"messages": [says("assistant", {**FILE, "mediaType": "image/png"})]}, "messages.0.parts.0.type"),
    ({"messages": [says("user", {"type": "reasoning", "text": "x"})]}, "messages.0.parts.0.type"),
    ({"messages": [says("assistant", call("who-knows"))]}, "messages.0.parts.0.state"),
    (
        {"messages": [says("assistant", {**call("input-available"), "toolCallId": ""})]},
        "messages.0.parts.0.toolCallId",
    ),
    ({"messages": [says("assistant", {**call("input-available"), "type": "tool-"})]}, "messages.0.parts.0.type"),
    ({"messages": [says("assistant", call("output-error"))]}, "messages.0.parts.0.errorText"),
    ({"messages": [says("assistant", call("output-available", output=float("nan")))]}, "messages.0.parts.0.output"),
    ({"messages": [says("user", "x")], "id": 1}, "id"),
    ({"messages": [says("user", "x")], "trigger": "x"}, "trigger"),
    ({"messages": [says("user", "x")], "topP": 2}, "topP"),
    ({"messages": [says("user", "x")], "top_p": 1, "topP": 1}, "topP"),
    ({"messages": [says("user", "x")], "tools": 1}, "tools"),
    ({"messages": [says("user", "x")], "tools": [{"name": ""}]}, "tools.0.function.name"),
    ({"messages": [says("user", "x")], "tools": [{"type": "web_search"}]}, "tools.0.type"),
    ({"messages": [says("user", "x")], "metadata": {"a": {}}}, "metadata.a"),
    ({"messages": [says("user", "x")], "rejoinder": []}, "rejoinder"),
    ({"messages": [says("user", "x")], "rejoinder": {"model": "x"}}, "rejoinder.model"),
    ({"messages": [says("user", "x")], "rejoinder": {"deadline_s": -1}}, "rejoinder.deadline_s"),
    ({"messages": [says("user", "x")], "rejoinder": {"deadline_s": 1}, "deadline_s": 1}, "rejoinder.deadline_s"),
    ({"messages": [says("user", "x")], "reasoning": {"effort": "vast"}}, "reasoning.effort"),
]


@pytest.mark.parametrize(("body", "field"), WRONG)
def test_what_is_wrong_is_named(body: dict[str, Any], field: str) -> None:
    """By the name it has in the body."""
    with pytest.raises(InvalidRequest) as caught:
        from_ui(body, model="demo/demo-1")
    assert caught.value.field == field


def test_a_model_is_needed() -> None:
    """From the body or from who calls."""
    with pytest.raises(InvalidRequest) as caught:
        from_ui({"messages": [says("user", "x")]})
    assert caught.value.field == "model"
