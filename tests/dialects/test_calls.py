"""Tool calls that came from one vendor, on their way to another."""

from __future__ import annotations

import json
from typing import Any

import pytest

from broker.dialects.arguments import arguments_of
from broker.dialects.from_chat import from_chat
from broker.dialects.from_responses import from_responses
from broker.dialects.vendors import Vendor
from broker.errors import InvalidRequest
from tests.dialects.readers import understood
from tests.dialects.test_translation import write

VLLM, KIMI = "chatcmpl-tool-0123456789abcdef0123456789abcdef", "functions.look_up:0"


def told(vendor: Vendor, *ids: str, arguments: str = "{}") -> list[Any]:
    """The ids that a provider is told, of the calls and of their results."""
    calls = [{"id": name, "type": "function", "function": {"name": "f", "arguments": arguments}} for name in ids]
    results = [{"role": "tool", "tool_call_id": name, "content": name} for name in ids]
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": calls}, *results]
    body = {"model": "m", "messages": messages, "temperature": 1, "max_tokens": 9}
    return understood(vendor, write(vendor, from_chat(body, vendor).request)).facts[1:]


@pytest.mark.parametrize(
    ("vendor", "most"), [("openai.chat", 40), ("openai.responses", 64), ("anthropic", None), ("compatible", None)]
)
def test_every_vendor_is_told_ids_that_it_takes(vendor: Vendor, most: int | None) -> None:
    """The same of a call and of its result, different ones of different calls, its own as they are."""
    given = (VLLM, f"{VLLM}{VLLM}", KIMI, KIMI.replace(".", "_").replace(":", "_"), "call_1", "toolu_01-a")
    facts = told(vendor, *given)
    ids = [fact[2] for fact in facts[: len(given)]]
    assert [(fact[2], fact[3]) for fact in facts[len(given) :]] == list(zip(ids, given, strict=True))
    assert len(set(ids)) == len(given)
    assert ids[3:] == list(given[3:])
    assert all(len(name) <= (most or 1000) for name in ids)
    if vendor == "anthropic":
        assert all(name.replace("-", "").replace("_", "").isalnum() for name in ids)
    if vendor == "compatible":
        assert ids == list(given)


def test_halves_of_characters_in_arguments_are_replaced() -> None:
    """A model wrote them, and the conversation must go on."""
    (call, _) = told("anthropic", "c1", arguments='{"a": "x\\ud83e", "b": "\\ud83e\\udd8a"}')
    assert call[-1] == {"a": "x\ufffd", "b": "\U0001f98a"}


@pytest.mark.parametrize("arguments", ['{"a":NaN}', '{"a":1e999}', '{"a":-Infinity}', "[]", "{", "[" * 100_000])
def test_arguments_that_are_no_json_object_are_named(arguments: str) -> None:
    """Anthropic takes nothing else, and nobody can write them to it."""
    with pytest.raises(InvalidRequest) as caught:
        told("anthropic", "c1", arguments=arguments)
    assert caught.value.field == "messages.1.tool_calls.0.function.arguments"


def test_arguments_come_back_as_they_are() -> None:
    """Numbers of any size, and nothing at all."""
    assert arguments_of("") == {}
    assert json.dumps(arguments_of('{"a": 123456789012345678901234567890, "b": 0.1}')) == (
        '{"a": 123456789012345678901234567890, "b": 0.1}'
    )


def test_a_conversation_of_system_messages_only_is_named() -> None:
    """Anthropic needs somebody to answer."""
    request = from_chat({"model": "m", "messages": [{"role": "system", "content": "x"}]}, "anthropic").request
    with pytest.raises(InvalidRequest) as caught:
        write("anthropic", request)
    assert caught.value.field == "messages"


@pytest.mark.parametrize("vendor", ["anthropic", "openai.chat", "compatible"])
def test_results_come_before_what_is_said_between_them(vendor: Vendor) -> None:
    """In the Responses API a user may break in; to the others a call's result must come next."""
    call: dict[str, Any] = {"type": "function_call", "name": "f", "arguments": "{}"}
    result: dict[str, Any] = {"type": "function_call_output", "output": "1"}
    items = [
        {"role": "user", "content": "x"},
        *({**call, "call_id": name} for name in ("c1", "c2")),
        {**result, "call_id": "c1"},
        {"role": "user", "content": "hurry"},
        {**result, "call_id": "c2"},
        {"role": "user", "content": "up"},
    ]
    body = {"model": "m", "input": items, "temperature": 1, "max_output_tokens": 9}
    facts = understood(vendor, write(vendor, from_responses(body, vendor).request)).facts
    assert [(fact[0], fact[2]) for fact in facts] == [
        ("user", "x"), ("assistant", "c1"), ("assistant", "c2"),
        ("result", "c1"), ("result", "c2"), ("user", "hurry"), ("user", "up"),
    ]  # fmt: skip
