"""Whether a provider can be told a request, found out before it is asked: pure."""

from __future__ import annotations

from typing import Protocol

from broker.dialects.to_chat import request_to_chat
from broker.dialects.to_messages import request_to_messages
from broker.dialects.to_responses import request_to_responses
from broker.dialects.vendors import Vendor
from broker.request import GenerationRequest


class Routes(Protocol):
    """The routing table, as far as it is needed here."""

    def resolve(self, model: str) -> tuple[str, str]:
        """Provider and name. Raises ``UnknownModel``."""
        ...

    def vendor(self, provider: str) -> Vendor:
        """What a provider speaks."""
        ...


def check_routed(request: GenerationRequest, models: Routes) -> None:
    """The same of whichever provider serves the request's model.

    Raises :class:`broker.errors.UnknownModel` where none does, and :class:`broker.dialects.vendors.Untranslatable`.
    """
    provider, model = models.resolve(request.model)
    check(request, models.vendor(provider), model)


def check(request: GenerationRequest, vendor: Vendor, model: str) -> None:
    """Build the body and throw it away. ``model`` without the provider's name.

    Raises :class:`broker.dialects.vendors.Untranslatable` naming the field of the canonical request.
    """
    match vendor:
        case "openai.chat" | "compatible":
            request_to_chat(request, model, official=vendor == "openai.chat")
        case "anthropic":
            request_to_messages(request, model)
        case "openai.responses":
            request_to_responses(request, model)
        case "demo":
            pass
