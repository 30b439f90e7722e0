"""What only the Responses API has: chaining, references to items, what the resource repeats."""

from __future__ import annotations

from typing import Any

import pytest
from openai.types.responses import ResponseFunctionToolCall

from broker.content import Block
from broker.dialects.from_responses import from_responses, references
from broker.dialects.response_turns import Previous, Referenced
from broker.dialects.to_messages import request_to_messages
from broker.dialects.to_responses import request_to_responses
from broker.errors import InvalidRequest
from broker.request import StoredRequest

ASKED: dict[str, Any] = {"model": "m", "input": "hello"}
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}


def test_a_response_goes_on_from_the_one_before() -> None:
    """Its input, its answer with calls and thoughts, then the new input; its instructions are not inherited."""
    before = from_responses(ASKED | {"instructions": "Be brief.", "temperature": 0.1}, "anthropic").request
    blocks = [
        Block("reasoning", "hm", signature="sig"),
        Block("text", "I look."),
        Block("tool_call", '{"q":1}', call_id="c1", name="f", whole=True),
        Block("tool_call", '{"q"', call_id="c2", name="f"),
    ]
    body = ASKED | {"input": [{"type": "function_call_output", "call_id": "c1", "output": "42"}]}
    request = from_responses(body, "anthropic", Previous(before, blocks, "anthropic")).request
    said = [message.model_dump(exclude_none=True) for message in request.conversation()]
    thought = {"type": "reasoning", "text": "hm", "signature": "sig", "provider": "anthropic"}
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"q":1}'}}
    assert said == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": [thought, {"type": "text", "text": "I look."}], "tool_calls": [call]},
        {"role": "tool", "content": "42", "tool_call_id": "c1"},
    ]
    assert (request.instructions, request.temperature) == (None, None)


def test_items_that_are_only_referred_to() -> None:
    """Are looked up by the caller; what it does not find is refused."""
    items: list[dict[str, Any]] = [
        {"role": "user", "content": "x"},
        {"type": "item_reference", "id": "rs_1"},
        {"id": "msg_1"},
        {"role": "user", "content": "y"},
    ]
    body = ASKED | {"input": items}
    assert references(body) == ["rs_1", "msg_1"]
    assert references(ASKED) == []
    found = {
        "rs_1": Referenced(Block("reasoning", opaque="secret"), "openai-responses"),
        "msg_1": Referenced(Block("refusal", "No."), "openai-responses"),
    }
    request = from_responses(body, "openai.responses", referenced=found).request
    parts = request.conversation()[1].model_dump(exclude_none=True)["content"]
    assert parts == [
        {"type": "reasoning", "text": "", "opaque": "secret", "provider": "openai-responses"},
        {"type": "refusal", "refusal": "No."},
    ]
    with pytest.raises(InvalidRequest) as caught:
        from_responses(body, "openai.responses", referenced={"rs_1": found["rs_1"]})
    assert caught.value.field == "input.2.id"


def test_messages_in_every_documented_form() -> None:
    """Easy ones without a type, those with one, and those that were an output; two of them stay two."""
    items: list[dict[str, Any]] = [
        {"role": "developer", "content": "d"},
        {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "s"}]},
        {"role": "user", "content": [{"type": "input_image", "image_url": "https://h/a", "detail": "high"}]},
        {"role": "assistant", "content": "one"},
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "phase": "commentary",
            "content": [
                {"type": "output_text", "text": "two", "annotations": [], "logprobs": []},
                {"type": "refusal", "refusal": "no"},
            ],
        },
    ]
    translated = from_responses(ASKED | {"input": items}, "compatible")
    said = [message.model_dump(exclude_none=True) for message in translated.request.conversation()]
    image = {"url": "https://h/a", "detail": "high"}
    assert said == [
        {"role": "developer", "content": "d"},
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "image_url", "image_url": image}]},
        {"role": "assistant", "content": "one"},
        {"role": "assistant", "content": [{"type": "text", "text": "two"}, {"type": "refusal", "refusal": "no"}]},
    ]
    assert translated.ignored == ("input.phase",)


def test_what_the_resource_repeats() -> None:
    """Under its own names and in its own shapes, or the default where nothing was said."""
    echo = _echo(from_responses(ASKED, "demo").request)
    assert echo["text"] == {"format": {"type": "text"}}
    assert echo["reasoning"] == {"effort": None, "summary": None}
    assert (echo["store"], echo["tools"], echo["metadata"], echo["temperature"]) == (True, [], {}, 1.0)
    body = ASKED | {
        "tools": [TOOL | {"output_schema": {"type": "object"}}],
        "tool_choice": {"type": "function", "name": "f"},
        "reasoning": {"effort": "low", "summary": "auto", "mode": "standard"},
        "text": {"verbosity": "low"},
        "metadata": {"a": "b"},
        "service_tier": "flex",
        "store": False,
        "background": True,
        "previous_response_id": "resp_1",
        "top_p": 0.5,
    }
    with pytest.raises(InvalidRequest, match="no such response") as caught:
        from_responses(body, "openai.responses")
    assert caught.value.field == "previous_response_id"
    previous = Previous(from_responses(ASKED, "demo").request, [], "demo")
    translated = from_responses(body, "openai.responses", previous)
    echo = _echo(translated.request)
    assert echo["previous_response_id"] == "resp_1"
    assert echo["tools"] == [TOOL | {"description": None}]
    assert echo["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    assert echo["reasoning"] == {"effort": "low", "summary": "auto"}
    assert echo["tool_choice"] == body["tool_choice"]
    assert (echo["store"], echo["background"], echo["top_p"], echo["service_tier"]) == (False, True, 0.5, "flex")
    assert (translated.stream, translated.background, translated.store) == (False, True, False)


def test_openai_is_told_what_its_own_client_said() -> None:
    """Word for word, where the canonical request says less."""
    body = ASKED | {
        "tools": [{"type": "function", "name": "f", "parameters": None}],
        "reasoning": {"effort": "low", "context": "all_turns"},
        "text": {"verbosity": "low"},
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
    }
    translated = from_responses(body, "openai.responses")
    names = ("tools", "reasoning", "text", "tool_choice")
    assert translated.request.provider_options == {name: body[name] for name in names}
    assert translated.ignored == ()
    del body["tool_choice"]
    translated = from_responses(body, "openai.chat")
    assert translated.request.provider_options == {"verbosity": "low"}
    assert translated.ignored == ("reasoning.context",)


def test_a_call_is_taken_back_as_the_sdk_dumps_it() -> None:
    """``model_dump`` has every field that there could be, one of them by a name that only Python knows."""
    call = ResponseFunctionToolCall(type="function_call", call_id="c1", name="f", arguments="{}").model_dump()
    assert "async_" in call
    request = from_responses(ASKED | {"input": [call]}, "openai.responses").request
    assert [one.id for one in request.conversation()[0].tool_calls or ()] == ["c1"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"include": ["message.output_text.logprobs"]}, "include.0"),
        ({"input": [{"type": "web_search_call", "id": "ws"}]}, "input.0.type"),
        ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input.0.content.0.type"),
        ({"input": []}, "input"),
        ({"stop": "x"}, "stop"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice.type"),
        ({"text": {"format": {"type": "json_object"}}}, "text.format.type"),
        ({"temperature": 1.5}, "temperature"),
        (
            {"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "[]"}]},
            "input.0.arguments",
        ),
    ],
)
def test_what_cannot_be_served_is_named(fields: dict[str, Any], field: str) -> None:
    """By its path in the client's own body."""
    with pytest.raises(InvalidRequest) as caught:
        from_responses(ASKED | fields, "anthropic")
    assert caught.value.field == field


def _echo(request: StoredRequest) -> dict[str, Any]:
    assert request.wire is not None
    assert request.wire.dialect == "openai.responses"
    return request.wire.echo


@pytest.mark.parametrize("reasoning", [{"effort": "low"}, {"effort": "low", "summary": "detailed"}, {"summary": None}])
def test_openai_is_asked_for_a_summary_only_where_its_client_did(reasoning: dict[str, Any]) -> None:
    """It is not for every organization to have one."""
    request = from_responses(ASKED | {"reasoning": reasoning}, "openai.responses").request
    assert request_to_responses(request, "m")["reasoning"] == reasoning


def test_an_older_claude_thinks_on_behind_later_calls_of_a_turn_that_began_with_a_thought() -> None:
    """Only the first call of a turn must stand behind its thought; what comes after may have had none."""
    sealed: dict[str, Any] = {"type": "reasoning", "summary": [], "encrypted_content": "rj1.anthropic.opaque.xx"}
    calls: list[dict[str, Any]] = [
        item
        for n in range(2)
        for item in (
            {"type": "function_call", "call_id": f"c{n}", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": f"c{n}", "output": "42"},
        )
    ]
    asked = {"role": "user", "content": "x"}
    for thoughts, thinks in (([sealed], True), ([], False)):
        body = {"model": "m", "input": [asked, *thoughts, *calls], "reasoning": {"effort": "low"}}
        request = from_responses(body, "anthropic").request
        assert ("thinking" in request_to_messages(request, "claude-opus-4-5")) is thinks
