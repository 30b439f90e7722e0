"""How often someone may ask."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.rate import RateLimiter
from tests.api.conftest import MakeClient
from tests.api.fake_door import FakeDoor

BODY = {"model": "demo/demo-1", "input": "x"}


def test_a_burst_and_then_one_at_a_time() -> None:
    """3/minute: three at once, then one every twenty seconds."""
    limiter = RateLimiter.parse("3/minute")
    assert [limiter.hit(("a",), 0) for _ in range(4)] == [0, 0, 0, pytest.approx(20)]
    assert limiter.hit(("a",), 19.9) == pytest.approx(0.1)
    assert limiter.hit(("a",), 20) == 0
    assert limiter.hit(("b",), 20) == 0


@given(
    limit=st.integers(1, 5),
    gaps=st.lists(st.floats(0, 30), max_size=40),
)
def test_no_window_ever_holds_more_than_burst_and_rate(limit: int, gaps: list[float]) -> None:
    """In any t seconds: a burst of ``limit``, and ``limit`` per window; and whoever waits as told is let in."""
    limiter = RateLimiter(limit, 60)
    now, taken = 0.0, list[float]()
    for gap in gaps:
        now += gap
        wait_s = limiter.hit(("a",), now)
        if wait_s == 0:
            taken.append(now)
        else:
            assert RateLimiter.hit(limiter, ("a",), now + wait_s) == 0
            limiter.refund(("a",))
    for index, start in enumerate(taken):
        for later, end in enumerate(taken[index:], 1):
            assert later <= limit + (end - start) / 60 * limit + 1e-6


def test_a_refused_request_costs_nothing_under_any_key() -> None:
    """The address must not pay for what the tenant may not do."""
    limiter = RateLimiter(1, 60)
    assert limiter.hit(("tenant", "address"), 0) == 0
    assert limiter.hit(("tenant", "other"), 0) > 0
    assert limiter.hit(("other",), 0) == 0


def test_what_is_paid_is_forgotten() -> None:
    """Memory is bounded by who is in debt."""
    limiter = RateLimiter(10, 1)
    for number in range(20_000):
        limiter.hit((str(number),), float(number))
    assert len(limiter) <= 10_001


async def test_too_many_submits_are_told_when_to_come_back(make_client: MakeClient, door: FakeDoor) -> None:
    """429 with Retry-After; reading is not limited, and another tenant is not concerned."""
    async with make_client(rate_limit="2/minute", api_keys="a:k1,b:k2") as client:
        mine, theirs = {"x-api-key": "k1"}, {"x-api-key": "k2"}
        codes = [(await client.post("/v1/generations", json=BODY, headers=mine)).status_code for _ in range(2)]
        refused = await client.post("/v1/generations", json=BODY, headers=mine)
        assert codes == [202, 202]
        assert (refused.status_code, refused.json()["code"], refused.json()["retryable"]) == (429, "rate_limited", True)
        assert refused.headers["retry-after"] == "30"
        assert (await client.get("/v1/generations", headers=mine)).status_code == 200
        assert len(door.requests) == 2
        # The same address: seeds row 28 wants a limit for that, too.
        assert (await client.post("/v1/generations", json=BODY, headers=theirs)).status_code == 429


async def test_a_repeated_submit_is_not_a_new_one(make_client: MakeClient) -> None:
    """A reader that re-POSTs after each cut must not be locked out of its own answer."""
    async with make_client(rate_limit="2/hour") as client:
        for _ in range(5):
            answer = await client.post("/v1/generations", json=BODY, headers={"idempotency-key": "k"})
            assert answer.status_code == 202
