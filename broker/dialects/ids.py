"""The ids of tool calls as each vendor takes them: pure.

A conversation may go from one vendor to another, with ids that only the first one would have given. The call and its
result are told the same id, whatever becomes of it.
"""

from __future__ import annotations

import re
from hashlib import blake2b

from broker.dialects.sealed import signed_call

_NOT_ANTHROPICS = re.compile(r"[^a-zA-Z0-9_-]")
CHAT_LENGTH = 40
"""OpenAI's limit in chat completions; vLLM's ids are longer."""
RESPONSES_LENGTH = 64
"""The same in the Responses API."""


def anthropic_id(call_id: str) -> str:
    """Of Anthropic's letters only: Kimi's ``functions.look_up:0`` has others."""
    name = signed_call(call_id).id
    plain = _NOT_ANTHROPICS.sub("_", name)
    return plain if plain == name else f"{plain}_{_digest(name, 4)}"


def short_id(call_id: str, most: int) -> str:
    """Of so many characters at most."""
    name = signed_call(call_id).id
    return name if len(name) <= most else f"call_{_digest(name, 12)}"


def _digest(name: str, size: int) -> str:
    return blake2b(name.encode(), digest_size=size).hexdigest()
