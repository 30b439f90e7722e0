"""Tool calls as folds remember them: immutable, and growing without being copied. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from api.formats.base import Rope, rope_text


class Call(NamedTuple):
    """A tool call of the attempt that stands: its index on the wire, and what has been said of its arguments."""

    at: int
    arguments: Rope | None = None
    closed: bool = False


Calls: TypeAlias = Mapping[str, Call]
"""By id, in the order in which they began."""
NO_CALLS: Calls = {}


def with_call(calls: Calls, call_id: str, call: Call) -> Calls:
    """The calls with this one anew."""
    return {**calls, call_id: call}


def unsaid(call: Call, arguments: str) -> str:
    """What the fragments have left out of the whole arguments; nothing where they say something else altogether."""
    said = rope_text(call.arguments)
    return arguments[len(said) :] if arguments.startswith(said) else ""
