"""``k=v`` options. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any


class OptionError(ValueError):
    """An option or argument can't be read; the message says which."""


def text_pairs(pairs: Iterable[str] | None) -> dict[str, str] | None:
    """``["k=v"]`` as a dictionary; ``None`` where there is none.

    Raises:
        OptionError: for one without a ``=`` or a name.
    """
    return dict(_split(pairs)) if pairs else None


def json_pairs(pairs: Iterable[str] | None) -> dict[str, Any] | None:
    """The same with values read as JSON where they are that (``tokens=120``), as text where not (``script=slow``).

    Raises:
        OptionError: for one without a ``=`` or a name.
    """
    return {name: _value(text) for name, text in _split(pairs)} if pairs else None


def _split(pairs: Iterable[str]) -> Iterator[tuple[str, str]]:
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise OptionError(f"{pair!r}: expected name=value")
        yield name, value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
