"""What to ask a provider next, when it has broken off in the middle or will not continue a beginning. Pure.

The boundary that tells readers of the new call is written only with its first token: where that never comes, what the
lost call said still stands.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from broker.errors import ProviderError
from broker.events import ContentEvent, Mode, TextDelta
from broker.request import GenerationRequest
from worker.providers.base import Call, Provider
from worker.upstream import delay_s, may_retry

PREFILL_REFUSED = "prefill_refused"
"""A model that was thought to continue a given beginning, and does not: it is asked from the start."""


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
        self._content: list[ContentEvent] = list(first.prefix)
        """What stands, where it may be needed as a prefix."""
        self._begins: Mode | None = None
        """The boundary that the next token has to be preceded by."""
        self.call = first
        self.token_out = False
        """Whether the present call has given anything."""

    def take(self, event: ContentEvent) -> Mode | None:
        """Take a part of the answer; answers how it begins anew, where it does."""
        mode, self._begins = self._begins, None
        self.token_out = True
        if mode == "restart":
            self._content.clear()
        if self._policy == "continue":
            self._content.append(event)
        return mode

    def again(self, error: ProviderError) -> float | None:
        """Get ready for another call; answers the pause in seconds before it, or None: this was the last one."""
        if self.call.prefix and error.code == PREFILL_REFUSED and not self.token_out:
            self._next(Call(self.call.request, self.call.model), "restart")
            return 0.0
        if self._policy == "fail" or not self.token_out or not may_retry(error):
            return None
        self._losses += 1
        if self._losses >= self._max_losses:
            return None
        if self._policy == "continue" and can_be_prefix(self._content) and self._can_continue():
            self._next(Call(self.call.request, self.call.model, list(self._content)), "continue")
        else:
            self._next(Call(self.call.request, self.call.model), "restart")
        return delay_s(self._losses, error, random.random())  # noqa: S311 -- jitter is no secret

    def _can_continue(self) -> bool:
        return self._provider.can_continue(self.call.model)

    def _next(self, call: Call, mode: Mode) -> None:
        self.call = call
        self._begins = mode
        self.token_out = False
