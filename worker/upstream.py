"""Asking a refusing provider again, only before its first token: after it, a retry would double what was said."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from broker.errors import ProviderError

BASE_S = 0.5
CAP_S = 30.0
MAX_RETRY_AFTER_S = 120.0
"""A provider that wants a longer pause has refused: the client is told at once."""


def delay_s(tries: int, error: ProviderError, jitter: float) -> float:
    """Seconds to wait after the ``tries``-th refusal: Retry-After where given, else exponential with full jitter.

    ``jitter`` is a random number in [0, 1). Even a Retry-After gets up to 10 % on top, so that a fleet spreads out.
    """
    if error.retry_after_s is not None:
        return max(error.retry_after_s, 0.0) * (1 + jitter / 10)
    return min(CAP_S, BASE_S * 2 ** (tries - 1)) * (0.5 + jitter / 2)


def may_retry(error: BaseException) -> bool:
    """Whether asking again can help."""
    if not isinstance(error, ProviderError) or not error.can_retry:
        return False
    return error.retry_after_s is None or error.retry_after_s <= MAX_RETRY_AFTER_S


def retrying(
    max_retries: int,
    token_out: Callable[[], bool],
    announce: Callable[[int, float, ProviderError], Awaitable[None]],
) -> AsyncRetrying:
    """Tenacity's loop with our policy.

    ``token_out`` says whether a token has gone out; ``announce(tries, delay_s, error)`` is awaited before each pause.
    """

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, ProviderError):
            return 0.0
        return delay_s(state.attempt_number, error, random.random())  # noqa: S311 -- jitter is no secret

    async def before_sleep(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        pause = state.next_action.sleep if state.next_action else 0.0
        if isinstance(error, ProviderError):
            await announce(state.attempt_number, pause, error)

    return AsyncRetrying(
        stop=stop_after_attempt(max_retries + 1),
        wait=wait,
        retry=retry_if_exception(lambda error: may_retry(error) and not token_out()),
        before_sleep=before_sleep,
        reraise=True,
    )
