"""What only Anthropic's dialect has: marks of what to cache, thinking, failed tools, blocks in their order."""

from __future__ import annotations

from typing import Any

import pytest

from broker.dialects.from_messages import from_messages
from broker.dialects.to_chat import request_to_chat
from broker.dialects.to_messages import request_to_messages
from broker.dialects.vendors import Vendor
from broker.errors import InvalidRequest

MARK = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
ANSWER: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": "hm", "signature": "sig"},
    {"type": "redacted_thinking", "data": "blob"},
    {"type": "text", "text": "I look."},
    {"type": "tool_use", "id": "c1", "name": "f", "input": {"q": 1}},
    {"type": "thinking", "thinking": "and", "signature": "sig2"},
    {"type": "tool_use", "id": "c2", "name": "f", "input": {}, **MARK},
]
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
RESULTS: list[dict[str, Any]] = [
    {
        "type": "tool_result",
        "tool_use_id": "c1",
        "content": [{"type": "text", "text": "bad"}],
        "is_error": True,
        **MARK,
    },
    {"type": "tool_result", "tool_use_id": "c2", "content": [IMAGE]},
    {"type": "text", "text": "So?", **MARK},
]
BODY: dict[str, Any] = {
    "model": "claude-opus-5",
    "max_tokens": 9000,
    "stream": True,
    "system": [{"type": "text", "text": "Be brief.", **MARK}],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Look."}]},
        {"role": "assistant", "content": ANSWER},
        {"role": "user", "content": RESULTS},
        {"role": "system", "content": [{"type": "text", "text": "Now in French."}]},
    ],
    "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": True, **MARK}],
    "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
    "thinking": {"type": "adaptive", "display": "omitted"},
    "output_config": {"effort": "max"},
    "stop_sequences": ["END"],
    "temperature": 1.0,
    "top_p": 0.5,
    "top_k": 3,
    "metadata": {"user_id": "u"},
}


def test_anthropic_is_told_what_its_own_client_said() -> None:
    """All of it, in its order and with every mark."""
    translated = from_messages(BODY, "anthropic")
    assert request_to_messages(translated.request, "claude-opus-5") == BODY
    assert (translated.ignored, translated.stream) == ((), True)


def test_tools_with_more_than_the_canonical_ones() -> None:
    """Go to Anthropic as they are; to others it is a hint."""
    tool: dict[str, Any] = {
        "name": "f",
        "input_schema": {"type": "object"},
        "eager_input_streaming": True,
        "input_examples": [{}],
    }
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "tools": [tool]}
    request = from_messages(body, "anthropic").request
    assert request_to_messages(request, "m")["tools"] == [tool]
    ignored = from_messages(body, "openai.chat").ignored
    assert ignored == ("tools.eager_input_streaming", "tools.input_examples")


def test_openai_is_told_the_same_in_one_turn() -> None:
    """What stands between calls is joined, for calls must be followed by their results; thinking stays here."""
    results = [RESULTS[0], {"type": "tool_result", "tool_use_id": "c2"}, RESULTS[2]]
    messages = [*BODY["messages"][:2], {"role": "user", "content": results}]
    body = {name: value for name, value in BODY.items() if name != "top_k"} | {"messages": messages}
    translated = from_messages(body, "openai.chat")
    said = request_to_chat(translated.request, "gpt-6", official=True)
    assert [message["role"] for message in said["messages"]] == ["system", "user", "assistant", "tool", "tool", "user"]
    answer = said["messages"][2]
    assert answer["content"] == [{"type": "text", "text": "I look."}]
    assert [call["id"] for call in answer["tool_calls"]] == ["c1", "c2"]
    assert (said["reasoning_effort"], said["parallel_tool_calls"], said["tool_choice"]) == ("max", False, "required")
    assert translated.ignored == (
        "system.cache_control",
        "messages.content.cache_control",
        "messages.content.is_error",
        "metadata",
        "tools.cache_control",
        "thinking.display",
    )


@pytest.mark.parametrize(
    ("thinking", "config", "effort"),
    [
        ({"type": "enabled", "budget_tokens": 1024}, None, "low"),
        ({"type": "enabled", "budget_tokens": 8192}, None, "medium"),
        ({"type": "enabled", "budget_tokens": 8193}, None, "high"),
        ({"type": "enabled", "budget_tokens": 8193}, {"effort": "xhigh"}, "xhigh"),
        ({"type": "adaptive"}, {"effort": "low"}, "low"),
        ({"type": "adaptive"}, None, None),
        ({"type": "disabled"}, {"effort": "high"}, "none"),
        (None, {"effort": "high"}, "high"),
    ],
)
def test_thinking_is_an_effort_elsewhere(
    thinking: dict[str, Any] | None, config: dict[str, Any] | None, effort: str | None
) -> None:
    """OpenAI knows no budget."""
    body = {"model": "m", "max_tokens": 9000, "messages": [{"role": "user", "content": "x"}]}
    request = from_messages(body | {"thinking": thinking, "output_config": config}, "openai.chat").request
    assert request_to_chat(request, "m", official=True).get("reasoning_effort") == effort


REFUSED: list[tuple[dict[str, Any], Vendor, str]] = [
    ({"top_k": 3}, "openai.chat", "top_k"),
    ({"inference_geo": "eu"}, "openai.chat", "inference_geo"),
    ({"container": "c"}, "anthropic", "container"),
    ({"tools": [{"type": "web_search_20260318", "name": "web_search"}]}, "anthropic", "tools.0.type"),
    ({"messages": []}, "anthropic", "messages"),
    ({"max_tokens": None}, "anthropic", "max_tokens"),
    ({"stop_sequences": ["x"]}, "openai.responses", "stop_sequences"),
    (
        {"messages": [{"role": "user", "content": [{"type": "search_result", "source": "x"}]}]},
        "anthropic",
        "messages.0.content.0.type",
    ),
    ({"messages": [{"role": "assistant", "content": "{"}]}, "openai.chat", "messages.0"),
    (
        {"messages": [{"role": "user", "content": [RESULTS[1]]}]},
        "openai.chat",
        "messages.0.content.0.content.0",
    ),
]


@pytest.mark.parametrize(("fields", "vendor", "field"), REFUSED)
def test_what_cannot_be_served_is_named(fields: dict[str, Any], vendor: Vendor, field: str) -> None:
    """By its path in the client's own body."""
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    with pytest.raises(InvalidRequest) as caught:
        from_messages(body | fields, vendor)
    assert caught.value.field == field
