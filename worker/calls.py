"""What to ask a provider next, when it has broken off in the middle or will not continue a beginning. Pure.

The boundary that tells readers of the new call is written only with its first token: where that never comes, what the
lost call said still stands.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from broker.errors import ProviderError
from broker.events import ContentEvent, Mode, TextDelta
from broker.request import GenerationRequest
from worker.providers.base import Call, Provider
from worker.upstream import delay_s, may_retry

PREFILL_REFUSED = "prefill_refused"
"""A model that was thought to continue a given beginning, and does not: it is asked from the start."""
FORGOT = "provider_forgot"
"""A provider that no longer knows the answer it was making: it is asked from the start, too."""


def can_be_prefix(content: Sequence[ContentEvent]) -> bool:
    """Whether a provider can be given this as the beginning of its own answer: plain text, nothing half open."""
    return bool(content) and all(isinstance(event, TextDelta) for event in content)


class Calls:
    """The calls of one attempt at one generation.

    ``max_losses``: so many providers may die in the middle before the generation fails.
    """

    def __init__(self, request: GenerationRequest, provider: Provider, first: Call, *, max_losses: int) -> None:
        self._provider = provider
        self._policy = request.on_provider_loss
        self._max_losses = max_losses
        self._losses = 0
        self._taken_over = bool(first.upstream)
        """The present call listens to what an earlier owner has left."""
        self._content: list[ContentEvent] = list(first.prefix)
        """What stands, where it may be needed as a prefix."""
        self._begins: Mode | None = None
        """The boundary that the next token has to be preceded by."""
        self.call = first
        self.token_out = False
        """Whether the present call has given anything."""

    @property
    def begins_anew(self) -> bool:
        """Whether the next token comes behind a boundary of its own."""
        return self._begins is not None

    def underway(self, upstream: str) -> None:
        """The answer of the present call is made whether or not we listen; empty = no longer."""
        self.call = replace(self.call, upstream=upstream, prefix=[])

    def take(self, event: ContentEvent) -> Mode | None:
        """Take a part of the answer; answers how it begins anew, where it does."""
        mode, self._begins = self._begins, None
        self.token_out = True
        if mode == "restart":
            self._content.clear()
        if self._policy == "continue" or self.call.upstream:
            self._content.append(event)
        return mode

    def again(self, error: ProviderError) -> float | None:
        """Get ready for another call; answers the pause in seconds before it, or None: this was the last one."""
        if self._unfit(error):
            self._next(Call(self.call.request, self.call.model), "restart")
            return 0.0
        if self.call.upstream and self.token_out and may_retry(error):
            # Nothing is lost but the line: what the provider goes on to make is listened to again.
            self.call = replace(self.call, prefix=list(self._content))
            self.token_out = self._taken_over = False
            return delay_s(1, error, random.random())  # noqa: S311 -- jitter is no secret
        died = error.code == FORGOT or (self.token_out and may_retry(error))
        if self._policy == "fail" or not died:
            return None
        self._losses += 1
        if self._losses >= self._max_losses:
            return None
        if self._policy == "continue" and can_be_prefix(self._content) and self._can_continue():
            self._next(Call(self.call.request, self.call.model, list(self._content)), "continue")
        else:
            self._next(Call(self.call.request, self.call.model), "restart")
        return delay_s(self._losses, error, random.random())  # noqa: S311 -- jitter is no secret

    def _unfit(self, error: ProviderError) -> bool:
        """Whether the call was one that only a takeover makes, and that this provider can't answer."""
        if error.code == FORGOT:
            return self._taken_over
        return bool(self.call.prefix) and error.code == PREFILL_REFUSED and not self.token_out

    def _can_continue(self) -> bool:
        return self._provider.can_continue(self.call.model)

    def _next(self, call: Call, mode: Mode) -> None:
        self.call = call
        self._begins = mode
        self.token_out = self._taken_over = False
