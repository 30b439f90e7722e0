"""Asking a refusing provider again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ProviderError
from worker.upstream import BASE_S, CAP_S, MAX_RETRY_AFTER_S, delay_s, may_retry, retrying


def refusal(*, retry_after_s: float | None = None, retryable: bool = True) -> ProviderError:
    """A 429."""
    return ProviderError("slow down", code="provider_rate_limited", retryable=retryable, retry_after_s=retry_after_s)


@given(st.integers(1, 60), st.floats(0, 0.999))
def test_pauses_grow_and_stay_below_the_cap(tries: int, jitter: float) -> None:
    """Exponential, jittered, bounded."""
    pause = delay_s(tries, refusal(), jitter)
    assert min(CAP_S, BASE_S * 2 ** (tries - 1)) / 2 <= pause <= CAP_S


@given(st.floats(0, 100), st.floats(0, 0.999))
def test_retry_after_is_honoured(wanted: float, jitter: float) -> None:
    """Never sooner than asked, and at most a tenth later."""
    assert wanted <= delay_s(1, refusal(retry_after_s=wanted), jitter) <= wanted * 1.1


def test_what_may_be_asked_again() -> None:
    """Only retryable refusals, and none that wants more patience than a client has."""
    assert may_retry(refusal())
    assert may_retry(refusal(retry_after_s=MAX_RETRY_AFTER_S))
    assert not may_retry(refusal(retry_after_s=MAX_RETRY_AFTER_S + 1))
    assert not may_retry(refusal(retryable=False))
    assert not may_retry(ValueError())


class Asking:
    """A provider that refuses so often, behind the policy, with pauses that take no time."""

    def __init__(self, refusals: int, *, token_after: int | None = None) -> None:
        self.refusals = refusals
        self.token_after = token_after
        self.asked = 0
        self.announced: list[tuple[int, float]] = []
        self.slept: list[float] = []

    async def announce(self, tries: int, pause_s: float, error: ProviderError) -> None:
        """As the worker writes generation.retrying."""
        assert error.can_retry
        self.announced.append((tries, pause_s))

    async def sleep(self, pause_s: float) -> None:
        """No time passes."""
        self.slept.append(pause_s)

    async def run(self, max_retries: int) -> str:
        """Ask until it answers or the policy gives up."""
        policy = retrying(max_retries, lambda: self.token_after == self.asked, self.announce).copy(sleep=self.sleep)
        async for attempt in policy:
            with attempt:
                self.asked += 1
                if self.asked <= self.refusals:
                    raise refusal()
                return "answer"
        raise AssertionError("the policy ended without an answer or an error")


async def test_each_pause_is_announced_before_it_is_slept() -> None:
    """generation.retrying says how long."""
    asking = Asking(3)
    assert await asking.run(5) == "answer"
    assert [tries for tries, _ in asking.announced] == [1, 2, 3]
    assert [pause for _, pause in asking.announced] == asking.slept


async def test_the_policy_gives_up() -> None:
    """After max_retries the refusal itself is raised."""
    asking = Asking(99)
    with pytest.raises(ProviderError, match="slow down"):
        await asking.run(2)
    assert asking.asked == 3


async def test_after_a_token_nothing_is_asked_again() -> None:
    """A retry would double what was said."""
    asking = Asking(99, token_after=2)
    with pytest.raises(ProviderError):
        await asking.run(5)
    assert asking.asked == 2
