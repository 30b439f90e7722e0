"""The tables of fields, row by row, against a value that says something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from broker.dialects.from_chat import from_chat
from broker.dialects.from_messages import from_messages
from broker.dialects.from_responses import from_responses
from broker.dialects.hints import CHAT_RULES, MESSAGES_RULES, RESPONSES_RULES, Rule
from broker.dialects.translated import Translated
from broker.dialects.vendors import ALL, Vendor
from broker.errors import InvalidRequest
from broker.request import Dialect
from tests.dialects.test_translation import read

RULES: Mapping[Dialect, Mapping[str, Rule]] = {
    "openai.chat": CHAT_RULES,
    "openai.responses": RESPONSES_RULES,
    "anthropic": MESSAGES_RULES,
}
ROWS = [(dialect, name) for dialect, rules in RULES.items() for name in rules]
CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
MESSAGES = CHAT | {"max_tokens": 9}
RESPONSES: dict[str, Any] = {"model": "m", "input": "x"}
TYPICAL: dict[Dialect, dict[str, Any]] = {
    "openai.chat": CHAT,
    "openai.responses": RESPONSES,
    "anthropic": MESSAGES,
}


def outcome(dialect: Dialect, name: str, vendor: Vendor, value: Any) -> str:
    """What becomes of a field."""
    try:
        translated = read(dialect, TYPICAL[dialect] | {name: value}, vendor)
    except InvalidRequest as error:
        assert error.field == name
        return "refused"
    options = translated.request.provider_options or {}
    if name == "verbosity" and vendor == "openai.responses":
        return "passed" if options["text"]["verbosity"] == value else "lost"
    if name in options and options[name] == value:
        return "passed"
    return "ignored" if translated.ignored == (name,) else "lost"


@pytest.mark.parametrize("vendor", sorted(ALL))
@pytest.mark.parametrize(("dialect", "name"), ROWS)
def test_each_row_is_true(dialect: Dialect, name: str, vendor: Vendor) -> None:
    """Passed to those who know it; for others ignored or refused by name; neutral values are neither."""
    rule = RULES[dialect][name]
    value = {"some": "value"}
    if vendor in rule.takes:
        expected = "passed"
    elif rule.otherwise == "hint" or (vendor == "demo" and rule.takes):
        expected = "ignored"
    else:
        expected = "refused"
    assert outcome(dialect, name, vendor, value) == expected
    if vendor not in rule.takes:
        assert [outcome(dialect, name, vendor, neutral) for neutral in (None, *rule.neutral)] == ["lost"] * (
            1 + len(rule.neutral)
        )


@pytest.mark.parametrize(
    ("field", "value", "vendor"),
    [
        ("n", 2, "openai.chat"),
        ("logprobs", True, "openai.chat"),
        ("modalities", ["text", "audio"], "compatible"),
        ("functions", [{"name": "f"}], "openai.chat"),
        ("presence_penalty", 0.5, "anthropic"),
        ("logit_bias", {"1": 2}, "anthropic"),
        ("web_search_options", {}, "anthropic"),
    ],
)
def test_what_would_change_the_answer_is_refused(field: str, value: Any, vendor: Vendor) -> None:
    """Named, with the reason."""
    with pytest.raises(InvalidRequest, match=rf"^{field}: ") as caught:
        from_chat(CHAT | {field: value}, vendor)
    assert caught.value.field == field


def test_hints_are_named_once_and_in_order() -> None:
    """Without their positions in lists."""
    mark = {"cache_control": {"type": "ephemeral"}}
    parts = [{"type": "text", "text": "a", **mark}, {"type": "text", "text": "b", **mark}]
    body = CHAT | {"messages": [{"role": "user", "content": parts}], "seed": 1, "user": "u"}
    translated: Translated = from_chat(body, "anthropic")
    assert translated.ignored == ("seed", "user")
    assert from_chat(body, "openai.chat").ignored == ("messages.content.cache_control",)
    obfuscated = CHAT | {"stream": True, "stream_options": {"include_obfuscation": True, "include_usage": True}}
    translated = from_chat(obfuscated, "openai.chat")
    assert (translated.ignored, translated.stream) == (("stream_options.include_obfuscation",), True)
    assert translated.request.wire is not None
    assert translated.request.wire.echo == {"include_usage": True}


def test_what_we_are_told_in_our_own_words() -> None:
    """Under ``rejoinder``, in every dialect; what is wrong in there is named."""
    ours = {"on_disconnect": {"cancel_after_s": 5}, "retention_s": 60, "delivery": {"batch": "word"}}
    for request in (
        from_chat(CHAT | {"rejoinder": ours}, "compatible").request,
        from_responses(RESPONSES | {"rejoinder": ours}, "demo").request,
        from_messages(MESSAGES | {"rejoinder": ours}, "anthropic").request,
    ):
        assert (request.retention_s, request.delivery.batch, request.on_worker_loss) == (60, "word", "continue")
        assert request.provider_options is None
    assert from_chat(CHAT | {"rejoinder": {"on_worker_loss": "fail"}}, "demo").request.on_worker_loss == "fail"
    for wrong, field in (({"retention_s": 0}, "retention_s"), ({"retention": 1}, "retention")):
        with pytest.raises(InvalidRequest) as caught:
            from_chat(CHAT | {"rejoinder": wrong}, "demo")
        assert caught.value.field == f"rejoinder.{field}"
