"""What is said in any dialect is what any provider is told."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.dialects.check import check
from broker.dialects.from_chat import from_chat
from broker.dialects.from_messages import from_messages
from broker.dialects.from_responses import from_responses
from broker.dialects.to_chat import request_to_chat
from broker.dialects.to_messages import request_to_messages
from broker.dialects.to_responses import request_to_responses
from broker.dialects.translated import Translated
from broker.dialects.vendors import MEDIA_IN_RESULTS, Vendor
from broker.request import Dialect, GenerationRequest
from tests.dialects.readers import understood
from tests.dialects.talks import DIALECTS, HOMES, VENDORS, Fact, Talk, body_in, talks, told_to

effort = settings(max_examples=25, deadline=None)


def read(dialect: Dialect, body: dict[str, Any], vendor: Vendor) -> Translated:
    """A body of this dialect's, for a model of this vendor's."""
    match dialect:
        case "openai.chat":
            return from_chat(body, vendor)
        case "openai.responses":
            return from_responses(body, vendor)
        case _:
            return from_messages(body, vendor)


def write(vendor: Vendor, request: GenerationRequest) -> dict[str, Any]:
    """The body that a provider of this vendor's is sent."""
    match vendor:
        case "anthropic":
            return request_to_messages(request, "claude-opus-5")
        case "openai.responses":
            return request_to_responses(request, "gpt-6")
        case _:
            return request_to_chat(request, "gpt-6", official=vendor == "openai.chat")


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("dialect", DIALECTS)
@effort
@given(data=st.data())
def test_every_provider_is_told_what_was_said(dialect: Dialect, vendor: Vendor, data: st.DataObject) -> None:
    """The conversation fact by fact and in order, and the settings of the answer."""
    chat = dialect == "openai.chat"
    talk = data.draw(talks(thinks=not chat, images=not chat and vendor in MEDIA_IN_RESULTS))
    translated = read(dialect, body_in(dialect, talk), vendor)
    check(translated.request, vendor, "m")
    said = asdict(understood(vendor, write(vendor, translated.request)))
    assert said.pop("facts") == told_to(vendor, talk.facts)
    expected = {name: value for name, value in asdict(talk).items() if name != "facts"}
    if talk.choice == "none":
        said["parallel"] = expected["parallel"]
    assert said == expected
    assert translated.ignored == ()


@pytest.mark.parametrize("vendor", ["anthropic", "openai.responses"])
@pytest.mark.parametrize("dialect", ["anthropic", "openai.responses"])
@effort
@given(
    signature=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=9),
)
def test_what_only_its_provider_can_read_comes_back_to_it(
    dialect: Dialect, vendor: Vendor, signature: str, text: str
) -> None:
    """Byte for byte, through whichever wire it went, and to no other."""
    thoughts = [("assistant", "thought", maker, text, f"{signature}{maker}") for maker in HOMES.values()]
    facts: list[Fact] = [("user", "text", "q"), *thoughts, ("assistant", "text", "a"), ("user", "text", "go on")]
    request = read(dialect, body_in(dialect, Talk(facts)), vendor).request
    told = understood(vendor, write(vendor, request)).facts
    assert told == told_to(vendor, facts)
    assert len(told) == len(facts) - 1
