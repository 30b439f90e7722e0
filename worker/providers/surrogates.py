"""Mends text that was cut inside a character. Pure.

JSON can name half of a character by its UTF-16 escape, and providers that cut their text by UTF-16 units send the
halves in two deltas. Neither half can be encoded as UTF-8, so neither may reach the log.
"""

from __future__ import annotations

import re

REPLACEMENT = "\ufffd"
"""Stands for a half whose other half never came."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def mend(text: str) -> str:
    """The text with pairs of halves joined and lone ones replaced."""
    if _SURROGATE.search(text) is None:
        return text
    return _SURROGATE.sub(REPLACEMENT, _PAIR.sub(_joined, text))


class SurrogateJoiner:
    """Mends the deltas of one block: what it gives out is whole, and joined it is the mended whole."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """What can be said now; the first half of a character is held back until the next delta."""
        if not text:
            return ""
        text = self._held + text
        self._held = ""
        if "\ud800" <= text[-1] <= "\udbff":
            self._held, text = text[-1], text[:-1]
        return mend(text)

    def flush(self) -> str:
        """What is left at the end of the block: nothing, or the replacement character."""
        held, self._held = self._held, ""
        return mend(held)


def _joined(pair: re.Match[str]) -> str:
    return pair.group().encode("utf-16-le", "surrogatepass").decode("utf-16-le")
