"""The arguments of a tool call as an object, for a vendor that wants one: pure."""

from __future__ import annotations

import json
from typing import Any, cast


def arguments_of(text: str) -> dict[str, Any] | None:
    """The object, which can be written as JSON again; none at all are an empty one. None = it is no JSON object.

    Models write halves of characters, which no vendor takes back: each is replaced.
    """
    try:
        value: object = json.loads(text or "{}", parse_constant=_refuse)
        told = json.dumps(value, ensure_ascii=False, allow_nan=False)
        sound = told.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        value = value if sound == told else json.loads(sound)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _refuse(constant: str) -> object:
    raise ValueError(constant)
