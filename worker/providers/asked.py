"""What a provider is asked, in its own words; what those have no words for is a provider's refusal."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from broker.dialects.to_chat import request_to_chat
from broker.dialects.to_messages import request_to_messages
from broker.dialects.to_responses import request_to_responses
from broker.dialects.vendors import Untranslatable
from broker.errors import ProviderError
from worker.providers.base import Call


@contextmanager
def translating() -> Generator[None]:
    """Inside, what can't be translated raises :class:`ProviderError` ``provider_rejected``: no retry helps."""
    try:
        yield
    except Untranslatable as error:
        raise ProviderError(error.message, code="provider_rejected") from error


def chat_body(call: Call, *, official: bool, provider: str = "openai", thoughts: bool = True) -> dict[str, Any]:
    """The body of ``POST /chat/completions``. Raises :class:`ProviderError`, see :func:`request_to_chat`."""
    with translating():
        how: dict[str, Any] = {"official": official, "provider": provider, "thoughts": thoughts}
        return request_to_chat(call.request, call.model, call.prefix, **how)


def responses_body(call: Call, *, provider: str, background: bool) -> dict[str, Any]:
    """The body of ``POST /responses``. Raises :class:`ProviderError`, see :func:`request_to_responses`."""
    with translating():
        return request_to_responses(call.request, call.model, provider=provider, background=background)


def messages_body(call: Call) -> dict[str, Any]:
    """The body of ``POST /v1/messages``. Raises :class:`ProviderError`, see :func:`request_to_messages`."""
    with translating():
        return request_to_messages(call.request, call.model, call.prefix)
