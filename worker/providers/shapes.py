"""Reading JSON that somebody else wrote: the value where it has the shape hoped for, an empty one where it has not."""

from __future__ import annotations

import json
from typing import Any, cast


def as_dict(value: object) -> dict[str, Any]:
    """The value if it is an object, else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """The value if it is an array, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def as_str(value: object) -> str:
    """The value if it is text, else empty text."""
    return value if isinstance(value, str) else ""


def as_count(value: object) -> int | None:
    """The value if it is a whole number that can count something."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def is_whole_json(text: str) -> bool:
    """Whether the text is one JSON value (RFC 8259: without Python's NaN and Infinity)."""
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> object:
    raise ValueError(constant)
