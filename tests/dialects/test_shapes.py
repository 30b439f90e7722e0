"""Forms of the vendors' bodies that few clients use: each is understood, or refused by its own name."""

from __future__ import annotations

from typing import Any

import pytest

from broker.content import Block
from broker.dialects.check import check
from broker.dialects.from_chat import from_chat
from broker.dialects.from_messages import from_messages
from broker.dialects.from_responses import from_responses
from broker.dialects.response_turns import Referenced
from broker.dialects.ui import from_ui
from broker.dialects.vendors import Untranslatable, Vendor
from broker.errors import InvalidRequest
from broker.request import Dialect
from tests.dialects.test_hints import TYPICAL
from tests.dialects.test_translation import read, write

IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
ALLOWED = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]}
SCHEMA = {"type": "json_schema", "name": "s", "strict": True}


def asked(dialect: Dialect, *content: dict[str, Any]) -> dict[str, Any]:
    """A user's message of these parts."""
    return {("input" if dialect == "openai.responses" else "messages"): [{"role": "user", "content": list(content)}]}


def result(part: dict[str, Any]) -> dict[str, Any]:
    """What a tool gave, in Anthropic's words."""
    return asked("anthropic", {"type": "tool_result", "tool_use_id": "c", "content": [part]})


def calls(*given: dict[str, Any]) -> dict[str, Any]:
    """A turn of chat completions that calls tools."""
    return {"messages": [{"role": "assistant", "tool_calls": list(given)}]}


REFUSED: list[tuple[Dialect, Vendor, dict[str, Any], str]] = [
    ("openai.responses", "openai.chat", {"tool_choice": ALLOWED}, "tool_choice"),
    ("openai.responses", "anthropic", {"text": {"format": SCHEMA | {"schema": {}}}}, "text.format.schema"),
    ("openai.responses", "openai.chat", {"model": ""}, "model"),
    ("openai.responses", "openai.chat", {"model": 5}, "model"),
    (
        "openai.responses",
        "openai.chat",
        {
            "input": [
                {
                    "type": "function_call_output",
                    "call_id": "c",
                    "output": [{"type": "input_image", "image_url": "data:,"}],
                }
            ]
        },
        "input.0.output.0",
    ),
    ("openai.chat", "openai.chat", asked("openai.chat", {"type": "file", "file": {}}), "messages.0.content.0.file"),
    ("openai.chat", "openai.chat", calls({"type": "custom", "id": "c"}), "messages.0.tool_calls.0.type"),
    (
        "openai.chat",
        "anthropic",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "s"}}},
        "response_format.json_schema",
    ),
    ("openai.chat", "anthropic", {"response_format": {"type": "json_object"}}, "response_format.type"),
    (
        "openai.chat",
        "anthropic",
        asked("openai.chat", {"type": "image_url", "image_url": {"url": "http://h/a"}}),
        "messages.0.content.0.image_url.url",
    ),
    ("anthropic", "openai.chat", result(IMAGE), "messages.0.content.0.content.0"),
    ("anthropic", "openai.chat", result({"type": "search_result"}), "messages.0.content.0.content.0.type"),
    (
        "anthropic",
        "anthropic",
        asked("anthropic", {"type": "image", "source": {"type": "file", "file_id": "f"}}),
        "messages.0.content.0.source.type",
    ),
    (
        "anthropic",
        "anthropic",
        {"messages": [{"role": "assistant", "content": [{"type": "server_tool_use"}]}]},
        "messages.0.content.0.type",
    ),
    ("anthropic", "anthropic", {"thinking": {"type": "sometimes"}}, "thinking.type"),
]


@pytest.mark.parametrize(("dialect", "vendor", "fields", "field"), REFUSED)
def test_what_is_refused_is_named(dialect: Dialect, vendor: Vendor, fields: dict[str, Any], field: str) -> None:
    """By its path in the body that the client sent."""
    with pytest.raises(InvalidRequest) as caught:
        read(dialect, TYPICAL[dialect] | fields, vendor)
    assert caught.value.field == field


IGNORED: list[tuple[Dialect, Vendor, dict[str, Any], str]] = [
    ("openai.responses", "demo", {"tool_choice": ALLOWED}, "tool_choice"),
    ("openai.responses", "anthropic", {"text": {"verbosity": "low"}}, "text.verbosity"),
    ("openai.responses", "openai.chat", {"reasoning": {"summary": "auto"}}, "reasoning.summary"),
    ("openai.responses", "openai.chat", {"include": ["web_search_call.action.sources"]}, "include"),
    (
        "openai.responses",
        "openai.chat",
        {"stream_options": {"include_obfuscation": True}},
        "stream_options.include_obfuscation",
    ),
    (
        "openai.chat",
        "compatible",
        {"stream_options": {"include_obfuscation": True, "of_its_own": 1}},
        "stream_options.include_obfuscation",
    ),
    (
        "openai.chat",
        "anthropic",
        asked("openai.chat", {"type": "image_url", "image_url": {"url": "https://h/a", "detail": "low"}}),
        "messages.content.image_url.detail",
    ),
    ("anthropic", "openai.chat", {"thinking": {"type": "between_tools"}}, "thinking.type"),
]


@pytest.mark.parametrize(("dialect", "vendor", "fields", "name"), IGNORED)
def test_what_says_nothing_is_ignored_by_name(
    dialect: Dialect, vendor: Vendor, fields: dict[str, Any], name: str
) -> None:
    """What the provider does not know and the answer does not hang on."""
    translated = read(dialect, TYPICAL[dialect] | fields, vendor)
    assert translated.ignored == (name,)


@pytest.mark.parametrize(
    ("form", "vendor", "expected"),
    [
        ({"type": "json_object"}, "openai.chat", {"type": "json_object"}),
        (
            SCHEMA | {"schema": {"type": "object"}, "description": None},
            "anthropic",
            {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}, "strict": True}},
        ),
    ],
)
def test_forms_of_answers(form: dict[str, Any], vendor: Vendor, expected: dict[str, Any]) -> None:
    """The flat form of the Responses API becomes the canonical one."""
    request = from_responses(TYPICAL["openai.responses"] | {"text": {"format": form}}, vendor).request
    assert request.response_format == expected


def test_what_compatible_servers_thought_comes_back() -> None:
    """Under either name; the first of them counts."""
    turn = {"role": "assistant", "content": "x", "reasoning_content": "hm", "reasoning": "other"}
    request = from_chat(TYPICAL["openai.chat"] | {"messages": [turn]}, "compatible").request
    (message,) = request.conversation()
    assert message.model_dump(exclude_none=True)["content"][0] == {"type": "reasoning", "text": "hm"}


def test_a_call_that_broke_off_is_not_referred_to() -> None:
    """It was never made: nothing is said in its place."""
    body = {"model": "m", "input": [{"type": "item_reference", "id": "fc_1"}, {"role": "user", "content": "x"}]}
    broken = Referenced(Block("tool_call", '{"q"', call_id="c", name="f"), "demo")
    request = from_responses(body, "demo", referenced={"fc_1": broken}).request
    assert [message.role for message in request.conversation()] == ["user"]


def test_thoughts_without_a_seal_are_left_out() -> None:
    """Neither vendor would take them."""
    thought = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "x"}]
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": thought}]
    request = from_messages(TYPICAL["anthropic"] | {"messages": turns}, "anthropic").request
    for vendor in ("anthropic", "openai.responses"):
        assert "hm" not in str(write(vendor, request))


@pytest.mark.parametrize("vendor", ["demo", "openai.chat", "anthropic", "openai.responses"])
def test_a_plain_request_is_fit_for_all(vendor: Vendor) -> None:
    """The demo takes anything; the others get as far as a body."""
    check(from_chat(TYPICAL["openai.chat"], "compatible").request, vendor, "m")


def test_what_is_read_for_one_is_checked_for_another() -> None:
    """A router may send it there."""
    body = TYPICAL["openai.responses"] | {"text": {"format": {"type": "json_object"}}}
    with pytest.raises(Untranslatable):
        check(from_responses(body, "openai.chat").request, "anthropic", "m")


UI: dict[str, Any] = {
    "id": "c",
    "model": "m",
    "messages": [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "x"}]}],
}


UI_REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"tools": "f"}, "tools"),
    ({"tools": ["f"]}, "tools.0"),
    ({"tools": {"f": "g"}}, "tools.f"),
    ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
    ({"messages": [{"id": "m1", "role": "assistant", "parts": []}]}, "messages"),
]


@pytest.mark.parametrize(("fields", "field"), UI_REFUSED)
def test_what_a_page_sends_is_named(fields: dict[str, Any], field: str) -> None:
    """By its path, as everywhere."""
    with pytest.raises(InvalidRequest) as caught:
        from_ui(UI | fields)
    assert caught.value.field == field
