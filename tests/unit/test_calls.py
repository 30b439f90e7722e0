"""What is asked next when an answer that goes on upstream breaks off, or is forgotten: docs/adr/0016."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from broker.errors import ProviderError
from broker.events import ContentEvent, TextDelta, ToolCallStarted
from tests.providers.contract import make_call
from worker.calls import FORGOT, Calls
from worker.providers.base import Call
from worker.providers.demo import DemoProvider

SAID: list[ContentEvent] = [TextDelta(0, "a"), ToolCallStarted(1, "c", "f")]
CUT = ProviderError("cut", code="provider_truncated", retryable=True)
FORGOTTEN = ProviderError("forgotten", code=FORGOT)


def calls(first: Call | None = None, **fields: Any) -> Calls:
    """The calls of one owner; unless one is given, the first asks for an answer and is told its id."""
    made = Calls((first or make_call(**fields)).request, DemoProvider(), first or make_call(**fields), max_losses=3)
    if first is None:
        made.underway("resp_1")
    return made


def takeover(**fields: Any) -> Call:
    """A call of a successor."""
    return replace(make_call(**fields), upstream="resp_1", prefix=SAID[:1])


def test_a_broken_line_is_listened_to_again() -> None:
    """As often as something new comes, whatever the policy: with all that was said, and without a boundary."""
    made = calls()
    for count in range(1, 6):
        assert made.take(SAID[0]) is None
        assert made.again(CUT) is not None
        assert (made.call.upstream, made.call.prefix, made.token_out) == ("resp_1", SAID[:1] * count, False)


def test_where_nothing_new_comes_it_is_not() -> None:
    """Before a token of its own, asking again is the business of whoever made the call."""
    made = calls()
    made.take(SAID[0])
    assert made.again(CUT) is not None
    assert made.again(CUT) is None


def test_asked_again_before_its_first_token_it_is_the_same_answer() -> None:
    """No second POST."""
    assert (calls().call.upstream, calls().call.prefix) == ("resp_1", [])


@pytest.mark.parametrize("said", [False, True])
def test_a_successor_begins_anew_where_the_answer_is_forgotten(said: bool) -> None:
    """Once: what stands is void with the first new token."""
    made = calls(takeover())
    if said:
        made.take(SAID[1])
    assert made.again(FORGOTTEN) == 0.0
    assert (made.call.upstream, made.call.prefix, made.begins_anew) == ("", [], True)
    assert made.take(SAID[0]) == "restart"
    assert made.again(FORGOTTEN) is None


@pytest.mark.parametrize(("policy", "anew"), [("fail", False), ("restart", True)])
def test_who_heard_it_begin_goes_by_the_policy(policy: str, anew: bool) -> None:
    """A provider that forgets what it was saying has died in the middle."""
    made = calls(on_provider_loss=policy)
    made.take(SAID[0])
    made.again(CUT)
    assert (made.again(FORGOTTEN) is not None) is anew
    assert made.begins_anew is anew


def test_an_answer_that_has_ended_is_asked_for_anew() -> None:
    """What failed upstream would fail again, however often it is listened to."""
    made = calls(on_provider_loss="restart")
    made.take(SAID[0])
    made.underway("")
    assert made.again(CUT) is not None
    assert (made.call.upstream, made.begins_anew) == ("", True)
