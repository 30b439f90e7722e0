"""The wire formats, by the names ``?format=`` knows and the media types ``Accept`` knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from api.formats.base import Format
from api.formats.native import Native
from api.formats.ndjson import NDJSON
from api.formats.text import Text

FormatName: TypeAlias = Literal["native", "sse", "ndjson", "text"]
"""What ``?format=`` may say; ``sse`` is another name of ``native``."""

_native = Native()
_ndjson = NDJSON()

FORMATS: dict[FormatName, Callable[[], Format]] = {
    "native": lambda: _native,
    "sse": lambda: _native,
    "ndjson": lambda: _ndjson,
    "text": Text,
}
MEDIA_TYPES: dict[str, FormatName] = {
    "text/event-stream": "native",
    "application/json": "native",
    "*/*": "native",
    "text/*": "native",
    "application/*": "native",
    "application/x-ndjson": "ndjson",
    "text/plain": "text",
}
"""What each type in an ``Accept`` header asks for; JSON asks for SSE: SDKs send it even when they stream (R7)."""
