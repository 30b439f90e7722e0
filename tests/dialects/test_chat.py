"""What only chat completions have, and what becomes of a conversation on its way into them."""

from __future__ import annotations

from typing import Any

import pytest

from broker.content import Block
from broker.dialects.check import check
from broker.dialects.from_chat import from_chat
from broker.dialects.from_responses import from_responses
from broker.dialects.response_turns import Previous
from broker.dialects.to_chat import request_to_chat
from broker.dialects.to_messages import request_to_messages
from broker.dialects.to_responses import request_to_responses
from broker.dialects.vendors import Untranslatable, Vendor
from broker.errors import InvalidRequest
from broker.request import GenerationRequest

MARK = {"cache_control": {"type": "ephemeral"}}
CALL: dict[str, Any] = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
MESSAGES: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be brief."},
    {"role": "system", "content": [{"type": "text", "text": "And kind.", **MARK}]},
    {"role": "user", "name": "ann", "content": [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "https://h/a", "detail": "original"}},
    ]},
    {"role": "assistant", "content": None, "refusal": "No.", "tool_calls": None, "function_call": None, "audio": None},
    {"role": "user", "content": "Please."},
    {"role": "assistant", "content": "I look.", "reasoning_content": "hm", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "42"},
]  # fmt: skip
ALLOWED = {
    "type": "allowed_tools",
    "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]


def body(**fields: Any) -> dict[str, Any]:
    """A request with these fields."""
    return {"model": "m", "messages": MESSAGES} | fields


def test_a_compatible_server_is_told_what_its_own_client_said() -> None:
    """Reasoning and marks of what to cache too; a refusal is text, a developer the system."""
    translated = from_chat(body(top_k=4, guided_json={"type": "object"}), "compatible")
    said = request_to_chat(translated.request, "m", official=False)
    assert (said["top_k"], said["guided_json"]) == (4, {"type": "object"})
    assert said["messages"] == [
        {"role": "system", "content": "Be brief."},
        *MESSAGES[1:3],
        {"role": "assistant", "content": [{"type": "text", "text": "No."}]},
        *MESSAGES[4:],
    ]
    assert translated.ignored == ()


def test_anthropic_is_told_what_its_marks_mean() -> None:
    """A name of a participant and the detail of an image are hints to it."""
    translated = from_chat(body(), "anthropic")
    system = request_to_messages(translated.request, "m")["system"]
    assert system == [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "And kind.", **MARK}]
    assert translated.ignored == ("messages.content.image_url.detail", "messages.name")


def test_the_responses_api_has_its_own_place_for_verbosity() -> None:
    """Beside the format, which is kept."""
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
    request = from_chat(body(verbosity="low", response_format=form), "openai.responses").request
    flat = {"type": "json_schema", "name": "n", "schema": {"type": "object"}}
    assert request_to_responses(request, "m")["text"] == {"format": flat, "verbosity": "low"}


def test_some_of_the_tools_only() -> None:
    """A choice that those who are asked over chat completions know."""
    request = from_chat(body(tools=TOOLS, tool_choice=ALLOWED), "openai.chat").request
    assert request_to_chat(request, "m", official=True)["tool_choice"] == ALLOWED
    with pytest.raises(InvalidRequest) as caught:
        from_chat(body(tools=TOOLS, tool_choice=ALLOWED), "anthropic")
    assert caught.value.field == "tool_choice"
    assert from_chat(body(tools=TOOLS, tool_choice=ALLOWED), "demo").ignored[-1] == "tool_choice"


def test_limits_and_stops() -> None:
    """The newer name of a limit counts; one stop sequence is a list of one."""
    request = from_chat(body(max_tokens=5, max_completion_tokens=6, stop="END"), "openai.chat").request
    assert (request.max_output_tokens, request.stops()) == (6, ["END"])
    for name in ("max_tokens", "max_completion_tokens"):
        with pytest.raises(InvalidRequest) as caught:
            from_chat(body(**{name: 0}), "demo")
        assert caught.value.field == name


PART = "messages.0.content.0"
REFUSED: list[tuple[dict[str, Any], Vendor, str]] = [
    ({"messages": [{"role": "function", "name": "f", "content": "1"}]}, "openai.chat", "messages.0.role"),
    ({"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]}, "openai.chat", f"{PART}.file"),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "openai.chat", PART),
    ({"messages": [{"role": "assistant", "content": None}]}, "openai.chat", "messages.0"),
    ({"messages": [{"role": "assistant", "audio": {"id": "a"}}]}, "openai.chat", "messages.0.audio"),
    ({"messages": [{"role": "user"}]}, "openai.chat", "messages.0.content"),
    ({"messages": [{"role": "tool", "content": "x"}]}, "openai.chat", "messages.0.tool_call_id"),
    ({"messages": []}, "openai.chat", "messages"),
    ({"tools": [{"type": "custom", "custom": {"name": "c"}}]}, "openai.chat", "tools.0.type"),
    ({"tool_choice": "any"}, "openai.chat", "tool_choice"),
    ({"reasoning_effort": "much"}, "openai.chat", "reasoning_effort"),
    ({"metadata": {"a": 1}}, "openai.chat", "metadata"),
    ({"stop": "x"}, "openai.responses", "stop"),
    ({"temperature": 1.5}, "anthropic", "temperature"),
    ({"temperature": 2.5}, "openai.chat", "temperature"),
    ({"response_format": {"type": "json_object"}}, "anthropic", "response_format.type"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}}, "anthropic",
     "response_format.json_schema"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "vendor", "field"), REFUSED)
def test_what_cannot_be_served_is_named(fields: dict[str, Any], vendor: Vendor, field: str) -> None:
    """By its path in the client's own body."""
    with pytest.raises(InvalidRequest) as caught:
        from_chat(body(**fields), vendor)
    assert caught.value.field == field


@pytest.mark.parametrize("chained", [False, True])
def test_a_compatible_server_gets_back_what_it_thought(chained: bool) -> None:
    """Through the Responses API too: some refuse the results of tools without the thoughts that asked for them."""
    thought = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]}
    call = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
    answer = [thought, {"role": "assistant", "content": "I look."}, call]
    result = {"type": "function_call_output", "call_id": "c1", "output": "42"}
    asked = {"role": "user", "content": "x"}
    blocks = [Block("reasoning", "hm"), Block("text", "I look."), Block("tool_call", "{}", None, None, "c1", "f", True)]
    previous = Previous(from_responses({"model": "m", "input": [asked]}, "compatible").request, blocks, "vllm")
    items = [result] if chained else [asked, *answer, result]
    request = from_responses({"model": "m", "input": items}, "compatible", previous if chained else None).request
    assert request_to_chat(request, "m", official=False)["messages"] == [asked, *MESSAGES[5:]]
    (_, said, _) = request_to_chat(request, "m", official=True)["messages"]
    assert "reasoning_content" not in said


def test_a_compatible_server_gets_empty_thoughts_as_they_are() -> None:
    """Clients pad turns with them for servers that want the field in every one."""
    turn = {"role": "assistant", "content": "x", "reasoning_content": ""}
    request = from_chat(body(messages=[turn]), "compatible").request
    assert request_to_chat(request, "m", official=False)["messages"] == [turn]


def test_an_answer_is_taken_back_as_litellm_dumps_it() -> None:
    """With notes of its own in messages and calls, which say nothing to a model, and nulls of whatever name."""
    notes: dict[str, Any] = {"provider_specific_fields": {"refusal": None}}
    turn = MESSAGES[5] | notes | {"images": None, "tool_calls": [CALL | notes]}
    translated = from_chat(body(messages=[MESSAGES[4], turn]), "compatible")
    assert request_to_chat(translated.request, "m", official=False)["messages"] == [MESSAGES[4], MESSAGES[5]]
    assert translated.ignored == ()
    said = turn | {"provider_specific_fields": {"citations": ["c"]}}
    translated = from_chat(body(messages=[MESSAGES[4], said]), "compatible")
    assert translated.ignored == ("messages.provider_specific_fields",)


def test_thoughts_of_two_turns_in_one_are_one() -> None:
    """A turn that is told in two messages is joined, with all that it thought; sealed thoughts are no one else's."""
    items = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "first"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": ", then"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "secret"}], "encrypted_content": "rj1.a.b"},
        {"type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}"},
    ]
    request = from_responses({"model": "m", "input": items}, "compatible").request
    (said,) = request_to_chat(request, "m", official=False)["messages"]
    assert said["reasoning_content"] == "first, then"
    del said["reasoning_content"]
    assert request_to_chat(request, "m", official=False, thoughts=False)["messages"] == [said]
    assert [call["id"] for call in said["tool_calls"]] == ["c1", "c2"]


@pytest.mark.parametrize("official", [False, True])
def test_thinking_alone_is_no_turn_in_chat_completions(official: bool) -> None:
    """Which have no word for it, and refuse a message without content."""
    items = [
        {"role": "user", "content": "x"},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"role": "user", "content": "y"},
    ]
    request = from_responses({"model": "m", "input": items}, "openai.chat").request
    said = request_to_chat(request, "m", official=official)["messages"]
    assert [message["role"] for message in said] == ["user", "user"]


UNTRANSLATABLE: list[tuple[dict[str, Any], Vendor, str]] = [
    (
        {"messages": [{"role": "tool", "tool_call_id": "c", "content": [
            {"type": "image_url", "image_url": {"url": "https://h/a"}},
        ]}]},
        "openai.chat", "messages.0.content",
    ),
    ({"input": "x", "stop": "x"}, "openai.responses", "stop"),
    ({"input": "x", "response_format": {"type": "json_object"}}, "anthropic", "response_format"),
    ({"input": "x", "provider_options": {"stream": False}}, "compatible", "provider_options.stream"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "ftp://h/a"}}]}]},
        "anthropic", "messages.0.content.0.image_url.url",
    ),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "["}}]}]},
        "anthropic", "messages.0.tool_calls.0.function.arguments",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "vendor", "field"), UNTRANSLATABLE)
def test_what_a_provider_has_no_word_for_shows_at_the_door(fields: dict[str, Any], vendor: Vendor, field: str) -> None:
    """Named by the canonical request's own path; the demo model minds nothing."""
    request = GenerationRequest.model_validate({"model": "m", **fields})
    with pytest.raises(Untranslatable) as caught:
        check(request, vendor, "m")
    assert caught.value.field == field
    check(request, "demo", "m")


def test_an_older_claude_goes_on_from_its_calls_without_thinking() -> None:
    """What it thought before them has no place in this wire, and it refuses to think in the middle of a turn."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked = [{"role": "user", "content": "x"}]
    called = [
        *asked,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "1"},
    ]
    answered = [*called, {"role": "assistant", "content": "one"}, {"role": "user", "content": "and now?"}]
    for messages, thinks in ((asked, True), (called, False), (answered, True)):
        request = from_chat({"model": "m", "messages": messages, "reasoning_effort": "low"}, "anthropic").request
        assert ("thinking" in request_to_messages(request, "claude-sonnet-4-5")) is thinks
        assert "thinking" in request_to_messages(request, "claude-opus-5")
