"""What a provider is to the worker: a name and one async generator."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from broker.events import ContentEvent, FinishReason, Usage
from broker.request import GenerationRequest


@dataclass(frozen=True, slots=True)
class Finish:
    """The provider's own end of the answer: the last item of every stream that ended well."""

    reason: FinishReason
    provider_reason: str | None = None
    stop_sequence: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class UsageUpdate:
    """Counts so far: kept for the terminal event if the stream doesn't live to its own end."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Underway:
    """The answer has an id upstream and is made there whether or not anybody listens; empty = it has come to its end.

    It comes before the first token, which must wait until the id is kept.
    """

    id: str


@dataclass(frozen=True, slots=True)
class Call:
    """One call to a provider."""

    request: GenerationRequest
    model: str
    """The model's name without the provider's."""
    prefix: list[ContentEvent] = field(default_factory=list[ContentEvent])
    """What an earlier attempt wrote and the answer must continue; only for models that :meth:`Provider.can_continue`.
    The provider yields what follows, with block numbers that go on from the prefix."""
    upstream: str = ""
    """The id of an answer that is :class:`Underway`: nothing is asked for, its making is listened to again. The prefix
    is what it has said to us, and may be any content."""


ProviderItem = ContentEvent | UsageUpdate | Underway | Finish


class Provider(Protocol):
    """An upstream of answers.

    ``stream`` yields content events, each delta with the number of its block; ``tool_call.completed`` only with whole,
    valid JSON; then exactly one :class:`Finish`. It raises :class:`broker.errors.ProviderError` for everything that
    goes wrong (never an SDK's or httpx's own class), also for a stream that ends without its vendor's own end mark,
    and does no retries. Closing the generator, or cancelling the task that iterates it, closes the provider's socket.
    """

    name: str

    def stream(self, call: Call) -> AsyncGenerator[ProviderItem, None]:
        """Ask the provider and yield the answer."""
        ...

    def can_continue(self, model: str) -> bool:
        """Whether this model can be given the beginning of its answer and go on from there."""
        ...

    def models(self) -> list[str]:
        """Names to show in ``GET /v1/models``, without the provider's prefix; may be empty."""
        ...

    async def aclose(self) -> None:
        """Close the provider's connections."""
        ...


@runtime_checkable
class BackgroundProvider(Provider, Protocol):
    """An upstream whose answers can go on without a listener.

    ``stream`` yields an :class:`Underway` for such an answer, and listens again to one that a call names. When there is
    no such answer any more, or it is not what the prefix says, it raises ``provider_forgot``.
    """

    async def abandon(self, upstream: str) -> None:
        """Stop an answer that nobody will listen to again. Raises :class:`broker.errors.ProviderError`."""
        ...
