"""What compatible servers do that OpenAI does not: calls under one id, Gemini's signatures."""

from __future__ import annotations

import re
from typing import Any

import pytest

from broker.dialects.sealed import SignedCall, sign_call, signed_call
from broker.events import FinishReason, TextDelta
from tests.providers.contract import make_call
from tests.providers.test_openai_chat_map import DONE, STOP, call, calls_of, chunk, mapped
from worker.providers.asked import chat_body, messages_body, responses_body
from worker.providers.base import Finish


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("max_tokens", "length"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("content_filter: RECITATION", "content_filter"),
    ],
)
def test_finish_reasons(word: str, reason: FinishReason) -> None:
    """An answer that was cut must not look whole, whoever's word it is."""
    assert mapped(chunk({"content": "a"}), chunk({}, word))[-1] == Finish(reason, word)


def test_a_choice_without_a_number_is_the_first() -> None:
    """There is no other."""
    unnumbered = {"choices": [{"index": None, "delta": {"content": "a"}}]}
    assert mapped(unnumbered, STOP) == [TextDelta(0, "a"), Finish("stop", "stop")]


def test_an_id_that_two_calls_share_is_made_different() -> None:
    """Else the second would take the first one's place, and no result could be told from the other's."""
    items = mapped(
        chunk(call(0, '{"a":1}', id="f:1", name="f")),
        chunk(call(1, '{"b"', id="f:1", name="f")),
        chunk(call(1, ":2}", id="f:1", name="f")),
        DONE,
    )
    assert calls_of(items) == [(0, "f:1", "f", '{"a":1}'), (1, "call_salt_1", "f", '{"b":2}')]


SIGNATURE = "EvQB+/é=="
SIGNED = {"extra_content": {"google": {"thought_signature": SIGNATURE}}}


def test_a_signed_call_carries_its_signature_in_its_id() -> None:
    """The only field that every client of every wire gives back as it is; fragments may repeat what they know."""
    items = mapped(
        chunk(call(0, '{"a"', id="c1", name="f", **SIGNED)),
        chunk(call(0, ":1}", id="c1", name="f", **SIGNED)),
        chunk(call(1, "{}", id="c2", name="f")),
        DONE,
    )
    (_, signed, _, arguments), (_, plain, _, _) = calls_of(items)
    assert signed_call(signed) == SignedCall("c1", "openai", SIGNATURE)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", signed)
    assert (arguments, plain) == ('{"a":1}', "c2")


def test_a_signature_goes_back_to_whom_it_is_from() -> None:
    """Beside the call, as it came; others get the call and its result under the provider's own id."""
    signed = sign_call("c1", "gemini", SIGNATURE)
    function: dict[str, Any] = {"name": "f", "arguments": "{}"}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [{"id": signed, "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": signed, "content": "1"},
    ]
    asked = make_call(messages=messages)
    bare: list[dict[str, Any]] = [messages[0], {**messages[1], "content": None}, {**messages[2], "tool_call_id": "c1"}]
    theirs: dict[str, Any] = {"id": "c1", "type": "function", "function": function}
    bare[1]["tool_calls"] = [theirs]
    assert chat_body(asked, official=False, provider="vllm")["messages"] == bare
    bare[1]["tool_calls"] = [theirs | SIGNED]
    assert chat_body(asked, official=False, provider="gemini")["messages"] == bare
    for told in (messages_body(asked), responses_body(asked, provider="openai-responses", background=False)):
        assert "rj1" not in str(told)
        assert str(told).count("'c1'") == 2


@pytest.mark.parametrize("call_id", ["c1", "c__rj1_", "c__rj1_!", "c__rj1_QQ", "c__rj1_A", "__rj1_QQo", ""])
def test_an_id_without_a_seal_of_ours_is_the_calls_own(call_id: str) -> None:
    """Whatever a provider calls its calls."""
    assert signed_call(call_id) == SignedCall(call_id)
