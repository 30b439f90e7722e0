"""What compatible servers do that OpenAI does not: calls under one id, Gemini's signatures."""

from __future__ import annotations

import pytest

from broker.events import FinishReason, TextDelta
from tests.providers.test_openai_chat_map import DONE, STOP, call, calls_of, chunk, mapped
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
