"""What a generation becomes on each wire."""

from __future__ import annotations

from typing import Any

import pytest

from broker.dialects.to_messages import DEFAULT_MAX_TOKENS
from broker.errors import ProviderError
from broker.events import ReasoningDelta, TextDelta
from tests.providers.contract import make_call
from worker.providers.asked import chat_body, messages_body

PIXEL = "data:image/png;base64,iVBORw0KGgo="
LOOKUP = {"type": "function", "function": {"name": "lookup", "description": "d", "parameters": {"type": "object"}}}
CONVERSATION: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "name": "ann", "content": [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
    ]},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
    {"role": "user", "content": "Look it up."},
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "c1", "function": {"name": "lookup", "arguments": '{"q": 1}'}},
        {"id": "c2", "function": {"name": "lookup", "arguments": ""}},
    ]},
    {"role": "tool", "tool_call_id": "c1", "content": "one"},
    {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "two"}]},
    {"role": "user", "content": "So?"},
]  # fmt: skip


def openai(*, official: bool = True, **fields: Any) -> dict[str, Any]:
    """The body for OpenAI, without what is always there."""
    body = chat_body(make_call(**fields), official=official)
    assert body.pop("model") == "m1"
    assert body.pop("stream") is True
    assert body.pop("stream_options") == {"include_usage": True}
    return body


def anthropic(model: str = "claude-sonnet-5", **fields: Any) -> dict[str, Any]:
    """The body for Anthropic, without what is always there."""
    body = messages_body(make_call(model, **fields))
    assert body.pop("model") == model
    assert body.pop("stream") is True
    return body


def test_openai_conversation() -> None:
    """OpenAI's own shapes go through as they are, after the instructions."""
    messages = openai(messages=CONVERSATION, instructions="Speak.")["messages"]
    assert messages[0] == {"role": "system", "content": "Speak."}
    assert messages[1:4] == CONVERSATION[:3]
    assert messages[5]["tool_calls"][1] == {
        "id": "c2",
        "type": "function",
        "function": {"name": "lookup", "arguments": ""},
    }
    assert messages[5]["content"] is None
    assert messages[6:] == CONVERSATION[5:]


def test_compatible_conversation() -> None:
    """Other servers know neither the role developer nor refusals."""
    messages = openai(official=False, messages=CONVERSATION)["messages"]
    assert messages[0] == {"role": "system", "content": "Be brief."}
    assert messages[2]["content"] == [{"type": "text", "text": "No."}]


def test_openai_fields() -> None:
    """Every field under its own name; none that was not given."""
    fields: dict[str, Any] = {
        "temperature": 0.0,
        "top_p": 0.5,
        "stop": "END",
        "tools": [LOOKUP],
        "tool_choice": {"type": "function", "function": {"name": "lookup"}},
        "response_format": {"type": "json_object"},
    }
    body = openai(**fields, max_output_tokens=9, reasoning={"effort": "low", "budget_tokens": 5}, metadata={"a": "b"})
    expected = fields | {"stop": ["END"], "max_completion_tokens": 9, "reasoning_effort": "low"}
    assert body == expected | {"messages": [{"role": "user", "content": "hello"}]}
    assert openai(official=False, max_output_tokens=9)["max_tokens"] == 9
    assert openai() == {"messages": [{"role": "user", "content": "hello"}]}


@pytest.mark.parametrize("make", [openai, anthropic])
def test_options_are_merged_last(make: Any) -> None:
    """The provider's own fields go along, over ours where they meet; what the adapter needs is refused."""
    assert make(temperature=1, provider_options={"temperature": 0, "own": {"x": 1}})["own"] == {"x": 1}
    assert make(temperature=1, provider_options={"temperature": 0})["temperature"] == 0
    for name in ("model", "messages", "stream"):
        with pytest.raises(ProviderError, match=name) as caught:
            make(provider_options={name: "x"})
        assert caught.value.code == "provider_rejected"


@pytest.mark.parametrize("make", [openai, anthropic])
def test_only_text_is_continued(make: Any) -> None:
    """An answer that has begun to think or to call can't be continued."""
    with pytest.raises(ProviderError) as caught:
        make(prefix=[ReasoningDelta(0, "hm"), TextDelta(1, "a")])
    assert caught.value.code == "prefill_refused"


def test_an_empty_prefix_is_none() -> None:
    """Nothing was written, so there is nothing to go on from."""
    assert "continue_final_message" not in openai(official=False, prefix=[TextDelta(0, "")])
    assert len(anthropic(prefix=[TextDelta(0, " \n")])["messages"]) == 1


def test_anthropic_conversation() -> None:
    """System messages to ``system``, tool results and text of one side into one message, images by their source."""
    body = anthropic(messages=CONVERSATION, instructions="Speak.")
    assert body["system"] == "Speak.\n\nBe brief."
    assert body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
                },
                {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "No."}]},
        {"role": "user", "content": [{"type": "text", "text": "Look it up."}]},
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "c1", "name": "lookup", "input": {"q": 1}},
                {"type": "tool_use", "id": "c2", "name": "lookup", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "one"}]},
                {"type": "tool_result", "tool_use_id": "c2", "content": [{"type": "text", "text": "two"}]},
                {"type": "text", "text": "So?"},
            ],
        },
    ]


def test_anthropic_gets_nothing_empty() -> None:
    """Messages and parts without content, which this API refuses, are left out."""
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "a"}]},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "b"},
    ]
    texts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert anthropic(messages=turns)["messages"] == [{"role": "user", "content": texts}]


def test_anthropic_fields() -> None:
    """Every field under its Anthropic name; none that was not given."""
    body = anthropic(max_output_tokens=9, temperature=0.0, top_p=0.5, stop=["a", "b"], metadata={"a": "b"})
    rest = {"max_tokens": 9, "temperature": 0.0, "top_p": 0.5, "stop_sequences": ["a", "b"]}
    messages = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    assert body == rest | {"messages": messages}
    assert anthropic() == {"max_tokens": DEFAULT_MAX_TOKENS, "messages": messages}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, None),
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "lookup"}}, {"type": "tool", "name": "lookup"}),
    ],
)
def test_anthropic_tools(choice: Any, expected: dict[str, str] | None) -> None:
    """Tools with their schema, and the choice among them."""
    bare = {"type": "function", "function": {"name": "now"}}
    body = anthropic(tools=[LOOKUP, bare], tool_choice=choice)
    assert body["tools"] == [
        {"name": "lookup", "description": "d", "input_schema": {"type": "object"}},
        {"name": "now", "input_schema": {"type": "object", "properties": {}}},
    ]
    assert body.get("tool_choice") == expected


@pytest.mark.parametrize(
    ("model", "reasoning", "limit", "expected"),
    [
        ("claude-opus-5", {"effort": "high"}, None, {
            "thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "high"},
            "max_tokens": DEFAULT_MAX_TOKENS + 16_384,
        }),
        ("claude-opus-5", {"effort": "minimal"}, 50, {
            "thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "low"},
            "max_tokens": 50,
        }),
        ("claude-opus-5", {"effort": "none"}, 50, {"thinking": {"type": "disabled"}, "max_tokens": 50}),
        ("claude-opus-5", {"budget_tokens": 4000}, None, {
            "thinking": {"type": "enabled", "budget_tokens": 4000}, "max_tokens": DEFAULT_MAX_TOKENS + 4000,
        }),
        ("claude-sonnet-4-5", {"effort": "low"}, None, {
            "thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": DEFAULT_MAX_TOKENS + 2048,
        }),
        ("claude-sonnet-4-5", {"effort": "high"}, 3000, {
            "thinking": {"type": "enabled", "budget_tokens": 2999}, "max_tokens": 3000,
        }),
        ("claude-sonnet-4-5", {"effort": "high"}, 500, {"max_tokens": 500}),
        ("claude-sonnet-4-5", {}, 500, {"max_tokens": 500}),
    ],
)  # fmt: skip
def test_anthropic_thinking(model: str, reasoning: dict[str, Any], limit: int | None, expected: dict[str, Any]) -> None:
    """Effort where the model knows it, a budget where it does not, and room for the answer beside it."""
    body = anthropic(model, reasoning=reasoning, max_output_tokens=limit)
    assert {name: value for name, value in body.items() if name != "messages"} == expected


def test_anthropic_schema() -> None:
    """A schema goes beside effort; text is the default."""
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
    body = anthropic(response_format=wanted, reasoning={"effort": "low"})
    assert body["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}}
    assert "output_config" not in anthropic(response_format={"type": "text"})


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {}}},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "ftp://a/b"}}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "["}}]}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "1"}}]}]},
    ],
)
def test_what_anthropic_cannot_say(fields: dict[str, Any]) -> None:
    """Refused before it is asked, and no retry helps."""
    with pytest.raises(ProviderError) as caught:
        anthropic(**fields)
    assert (caught.value.code, caught.value.can_retry) == ("provider_rejected", False)
