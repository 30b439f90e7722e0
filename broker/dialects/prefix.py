"""The beginning of an answer that a model is asked to continue, and the options that go to it as they are: pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from broker.dialects.vendors import Untranslatable
from broker.errors import ProviderError
from broker.events import ContentEvent, TextDelta
from broker.request import GenerationRequest


def prefix_text(prefix: Iterable[ContentEvent]) -> str:
    """The text a call continues. Raises :class:`ProviderError` ``prefill_refused`` if it is more than text."""
    said = list(prefix)
    texts = [event.text for event in said if isinstance(event, TextDelta)]
    if len(texts) != len(said):
        raise ProviderError("only text can be continued", code="prefill_refused")
    return "".join(texts)


def own_options(request: GenerationRequest, reserved: frozenset[str]) -> dict[str, Any]:
    """``provider_options``, merged in last. Raises :class:`Untranslatable` if they set what the adapter depends on."""
    options = request.provider_options or {}
    if taken := sorted(reserved & options.keys()):
        names = ", ".join(taken)
        raise Untranslatable(f"provider_options may not set {names}", field=f"provider_options.{taken[0]}")
    return options
