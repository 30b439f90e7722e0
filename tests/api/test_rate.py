"""How often somebody may submit."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from api.limits import SubmitLimit
from broker.errors import RateLimited


def request_from(address: str) -> Request:
    """A request, as far as the limit looks at it."""
    return Request({"type": "http", "headers": [], "client": (address, 1)})


async def test_no_limit_refuses_nobody() -> None:
    """Unset means unset."""
    limit = SubmitLimit(None)
    served = 0
    for _ in range(100):
        await limit.charge("a", request_from("10.0.0.1"))
        served += 1
    assert served == 100


async def test_one_too_many_is_told_how_long_to_wait() -> None:
    """The window moves: the wait is at most the window."""
    limit = SubmitLimit("3/hour")
    for _ in range(3):
        await limit.charge("a", request_from("10.0.0.1"))
    with pytest.raises(RateLimited) as refused:
        await limit.charge("a", request_from("10.0.0.2"))
    assert refused.value.retry_after_s is not None
    assert 3590 < refused.value.retry_after_s <= 3600


async def test_tenants_and_addresses_count_apart() -> None:
    """Another tenant at another address has a window of its own; at the same address it shares that address's."""
    limit = SubmitLimit("1/hour")
    await limit.charge("a", request_from("10.0.0.1"))
    await limit.charge("b", request_from("10.0.0.2"))
    with pytest.raises(RateLimited):
        await limit.charge("c", request_from("10.0.0.1"))


async def test_what_was_refused_is_not_counted() -> None:
    """A refusal for the address leaves the tenant's own window as it was."""
    limit = SubmitLimit("2/hour")
    await limit.charge("a", request_from("10.0.0.1"))
    await limit.charge("b", request_from("10.0.0.1"))
    for _ in range(5):
        with pytest.raises(RateLimited):
            await limit.charge("c", request_from("10.0.0.1"))
    await limit.charge("c", request_from("10.0.0.3"))
    await limit.charge("c", request_from("10.0.0.4"))


async def test_a_look_costs_nothing_and_a_late_count_does() -> None:
    """Resuming readers are looked at first and counted only when they made something new."""
    limit = SubmitLimit("1/hour")
    for _ in range(5):
        await limit.check("a", request_from("10.0.0.1"))
    await limit.count("a", request_from("10.0.0.1"))
    with pytest.raises(RateLimited):
        await limit.check("a", request_from("10.0.0.1"))
