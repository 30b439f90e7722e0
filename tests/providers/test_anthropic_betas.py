"""Betas that a client asks for in its header, on their way to Anthropic."""

from __future__ import annotations

from typing import Any

import pytest

from broker.dialects.from_messages import from_messages
from broker.dialects.vendors import ALL, Vendor
from broker.errors import InvalidRequest
from broker.request import StoredRequest
from tests.providers.contract import items_of
from tests.providers.test_anthropic import REPLIES, anthropic
from tests.support.upstream import Upstream
from worker.providers.base import Call

BODY: dict[str, Any] = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
BETAS = "interleaved-thinking-2025-05-14, context-1m-2025-08-07"


async def test_anthropic_gets_its_own() -> None:
    """As they came, also after the request was kept."""
    kept = StoredRequest.model_validate_json(from_messages(BODY, "anthropic", BETAS).request.model_dump_json())
    async with Upstream() as upstream:
        upstream.replies += [REPLIES["text"], REPLIES["text"]]
        provider = anthropic(upstream)
        await items_of(provider, Call(kept, "claude-x"))
        await items_of(provider, Call(from_messages(BODY, "anthropic").request, "claude-x"))
        await provider.aclose()
    assert [asked.headers.get("anthropic-beta") for asked in upstream.asked] == [BETAS, None]


@pytest.mark.parametrize("vendor", sorted(ALL - {"anthropic"}))
def test_to_others_they_are_a_hint(vendor: Vendor) -> None:
    """Named among what was ignored."""
    translated = from_messages(BODY, vendor, BETAS)
    assert translated.ignored == ("anthropic-beta",)
    assert translated.request.wire is not None
    assert translated.request.wire.echo == {}


def test_what_is_no_name_is_refused() -> None:
    """It becomes a header of ours."""
    with pytest.raises(InvalidRequest) as caught:
        from_messages(BODY, "anthropic", "a\r\nb: c")
    assert caught.value.field == "anthropic-beta"
