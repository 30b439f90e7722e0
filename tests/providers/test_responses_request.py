"""What a generation becomes as the body of ``POST /responses``."""

from __future__ import annotations

from typing import Any

import pytest

from broker.dialects.to_responses import ENCRYPTED, request_to_responses
from broker.dialects.vendors import Untranslatable
from broker.errors import ProviderError
from tests.providers.contract import make_call
from tests.providers.test_requests import LOOKUP, PIXEL
from worker.providers.asked import responses_body


def body(model: str = "o9", *, background: bool = False, **fields: Any) -> dict[str, Any]:
    """The body, without what is always there."""
    made = request_to_responses(make_call(model, **fields).request, model, background=background)
    assert made.pop("model") == model
    assert made.pop("stream") is True
    return made


HELLO = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}]


def test_the_least() -> None:
    """Nothing is stored, and what the model thinks can be given back to it."""
    assert body() == {"input": HELLO, "store": False, "include": [ENCRYPTED]}


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4.1-mini", "chatgpt-4o-latest", "gpt-5-chat-latest"])
def test_models_that_do_not_think_are_not_asked_for_thoughts(model: str) -> None:
    """They refuse the whole request for it."""
    assert body(model) == {"input": HELLO, "store": False}


def test_conversation() -> None:
    """Every message is an item, or several: thoughts, text and calls in their order."""
    ours = {"type": "reasoning", "text": "Hm.", "signature": "c2ln", "provider": "openai-responses"}
    silent = {"type": "reasoning", "opaque": "b3Bh", "provider": "openai-responses"}
    theirs = {"type": "reasoning", "text": "Hm.", "signature": "c2ln", "provider": "anthropic"}
    unsigned = {"type": "reasoning", "text": "Hm.", "provider": "openai-responses"}
    image = {"type": "image_url", "image_url": {"url": PIXEL}}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "And kind."}]},
        {"role": "user", "name": "ann", "content": [{"type": "text", "text": "What?"}, image]},
        {"role": "assistant", "content": [
            ours, silent, theirs, unsigned,
            {"type": "text", "text": "Well,"}, {"type": "refusal", "refusal": "no."},
        ], "tool_calls": [{"id": "c1", "function": {"name": "lookup", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "is_error": True, "content": [{"type": "text", "text": "two"}, image]},
    ]  # fmt: skip
    pixel = {"type": "input_image", "image_url": PIXEL, "detail": "auto"}
    assert body(messages=messages, instructions="Speak.")["input"] == [
        {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Be brief."}]},
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "And kind."}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "What?"}, pixel]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}], "encrypted_content": "c2ln"},
        {"type": "reasoning", "summary": [], "encrypted_content": "b3Bh"},
        {"type": "message", "role": "assistant", "content": [
            {"type": "output_text", "text": "Well,"}, {"type": "refusal", "refusal": "no."},
        ]},
        {"type": "function_call", "call_id": "c1", "name": "lookup", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "one"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "two"}, pixel]},
    ]  # fmt: skip
    assert body(messages=messages, instructions="Speak.")["instructions"] == "Speak."


def test_fields() -> None:
    """Every field under its own name; none that was not given."""
    choice = {"type": "function", "function": {"name": "lookup"}}
    schema = {"name": "n", "schema": {"type": "object"}, "strict": True}
    given: dict[str, Any] = {
        "max_output_tokens": 9, "temperature": 0.0, "top_p": 0.5, "metadata": {"a": "b"},
        "tools": [LOOKUP, {"type": "function", "function": {"name": "now", "strict": True}}], "tool_choice": choice,
        "response_format": {"type": "json_schema", "json_schema": schema},
        "reasoning": {"effort": "low", "budget_tokens": 5},
    }  # fmt: skip
    assert body(**given) == {
        "input": HELLO, "store": False, "include": [ENCRYPTED],
        "max_output_tokens": 9, "temperature": 0.0, "top_p": 0.5,
        "tools": [
            {"type": "function", "name": "lookup", "description": "d", "parameters": {"type": "object"},
             "strict": False},
            {"type": "function", "name": "now", "parameters": {"type": "object", "properties": {}}, "strict": True},
        ],
        "tool_choice": {"type": "function", "name": "lookup"},
        "text": {"format": {"type": "json_schema", **schema}},
        "reasoning": {"effort": "low", "summary": "auto"},
    }  # fmt: skip
    assert body(tool_choice="required")["tool_choice"] == "required"
    assert body(response_format={"type": "json_object"})["text"] == {"format": {"type": "json_object"}}


def test_options_are_merged_last() -> None:
    """Over ours where they meet, and beside ours inside what both fill."""
    options = {"temperature": 0, "reasoning": {"summary": "detailed"}, "text": {"verbosity": "low"}, "own": 1}
    made = body(temperature=1, reasoning={"effort": "low"}, provider_options=options)
    assert (made["temperature"], made["own"], made["text"]) == (0, 1, {"verbosity": "low"})
    assert made["reasoning"] == {"effort": "low", "summary": "detailed"}


def test_in_the_background() -> None:
    """Where it is wanted, by the request or by the settings; the request has the last word."""
    wanted = {"background": True, "store": True, "input": HELLO, "include": [ENCRYPTED]}
    assert body(provider_options={"background": True}) == wanted
    assert body(background=True) == wanted
    assert body(background=True, provider_options={"background": False}) == body()


@pytest.mark.parametrize(
    "fields",
    [
        {"provider_options": {"model": "x"}},
        {"provider_options": {"input": "x"}},
        {"provider_options": {"stream": False}},
        {"provider_options": {"background": True, "store": False}},
        {"stop": "END"},
        {"response_format": {"type": "json_schema"}},
        {"messages": [{"role": "assistant", "content": [{"type": "image_url", "image_url": {"url": PIXEL}}]}]},
    ],
)
def test_what_it_cannot_say(fields: dict[str, Any]) -> None:
    """Refused before anybody is asked, and no retry helps."""
    with pytest.raises(Untranslatable):
        body(**fields)
    with pytest.raises(ProviderError) as caught:
        responses_body(make_call("gpt-5", **fields), provider="openai-responses", background=False)
    assert (caught.value.code, caught.value.can_retry) == ("provider_rejected", False)
