"""What vendors can and can't be told, as data, and the error for what can't be: pure."""

from __future__ import annotations

from broker.errors import InvalidRequest
from broker.routing import Vendor as Vendor  # noqa: PLC0414 - named here for those who translate

OPENAI: frozenset[Vendor] = frozenset({"openai.chat", "openai.responses"})
CHAT: frozenset[Vendor] = frozenset({"openai.chat", "compatible"})
"""They are asked over chat completions."""
ALL: frozenset[Vendor] = OPENAI | CHAT | {"anthropic", "demo"}

IMAGES_IN_RESULTS: frozenset[Vendor] = ALL - CHAT
"""They take an image in a tool's result: chat completions have text there only."""
JSON_OBJECT: frozenset[Vendor] = ALL - {"anthropic"}
"""They can be held to JSON without a schema."""
CACHE_CONTROL: frozenset[Vendor] = frozenset({"anthropic", "compatible"})
"""They may know Anthropic's marks of what to cache; a compatible server only where its own client sends them."""


class Untranslatable(InvalidRequest):
    """The provider of this model has no word for what the request says."""
