"""What vendors can and can't be told, as data, and the error for what can't be: pure."""

from __future__ import annotations

from typing import get_args

from broker.errors import InvalidRequest
from broker.routing import Vendor

OPENAI: frozenset[Vendor] = frozenset({"openai.chat", "openai.responses"})
CHAT: frozenset[Vendor] = frozenset({"openai.chat", "compatible"})
"""They are asked over chat completions."""
ALL: frozenset[Vendor] = frozenset(get_args(Vendor))

MEDIA_IN_RESULTS: frozenset[Vendor] = ALL - CHAT
"""They take images and files in a tool's result: chat completions have text there only."""
OPENAI_FILES: frozenset[Vendor] = ALL - {"anthropic"}
"""They may know a file by the id that OpenAI's clients give it."""
ANTHROPIC_FILES: frozenset[Vendor] = frozenset({"anthropic", "demo"})
"""They know a file by Anthropic's id."""
FAILED_RESULTS: frozenset[Vendor] = frozenset({"anthropic", "demo"})
"""They can be told that a tool failed; the others have its text only."""
STOPS: frozenset[Vendor] = ALL - {"openai.responses"}
"""They know stop sequences."""
JSON_OBJECT: frozenset[Vendor] = ALL - {"anthropic"}
"""They can be held to JSON without a schema."""
CACHE_CONTROL: frozenset[Vendor] = frozenset({"anthropic"})
"""They know Anthropic's marks of what to cache. A compatible server may, where its own client sends them."""
PREFILL: frozenset[Vendor] = frozenset({"anthropic", "demo"})
"""They take an assistant's message at the end of a conversation for the beginning of the answer."""


class Untranslatable(InvalidRequest):
    """The provider of this model has no word for what the request says."""
