"""What a model, a provider or a server says, made harmless for a terminal.

A terminal obeys some of the characters it is shown: they can move the cursor, retitle the window, or type for the
user. Where text goes to a terminal, every control character but newline and tab is shown as a picture of itself. Where
it goes to a pipe or a file, it is passed on byte for byte: the reader there asked for the model's text.
"""

from __future__ import annotations

_PICTURES = 0x2400
_DELETE = 0x7F
_DELETE_PICTURE = 0x2421
_REPLACEMENT = 0xFFFD
_C1 = range(0x80, 0xA0)

_TABLE = {
    **{code: _PICTURES + code for code in range(0x20) if chr(code) not in "\n\t"},
    _DELETE: _DELETE_PICTURE,
    **dict.fromkeys(_C1, _REPLACEMENT),
}


def neutralise(text: str) -> str:
    """The text with nothing left in it that a terminal would obey; a CRLF becomes a newline."""
    return text.replace("\r\n", "\n").translate(_TABLE)


def one_line(text: str, limit: int = 500) -> str:
    """The same for a place that has one line: newlines become spaces, and what is longer than ``limit`` is cut."""
    flat = " ".join(neutralise(text).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
