"""The wire formats, by the names ``?format=`` knows and the media types ``Accept`` knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from api.formats.ai_sdk import AiSdkFold
from api.formats.anthropic import AnthropicFold
from api.formats.base import FoldKind, Format
from api.formats.folded import Folded
from api.formats.native import Native
from api.formats.ndjson import NDJSON
from api.formats.openai_chat import ChatFold
from api.formats.openai_responses import ResponsesFold
from api.formats.text import Text
from broker.errors import InvalidPosition
from broker.position import Cursor

FormatName: TypeAlias = Literal[
    "native", "sse", "ndjson", "text", "openai.chat", "openai.responses", "anthropic", "ai-sdk"
]
"""What ``?format=`` may say; ``sse`` is another name of ``native``."""

_native = Native()
_ndjson = NDJSON()

FORMATS: dict[str, Callable[[], Format]] = {
    "native": lambda: _native,
    "sse": lambda: _native,
    "ndjson": lambda: _ndjson,
    "text": Text,
}
"""Formats that need not know whose answer it is."""

FOLDS: dict[str, FoldKind] = {kind.name: kind for kind in (ChatFold, ResponsesFold, AnthropicFold, AiSdkFold)}
"""Formats with a memory."""

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


def open_format(name: str, cursor: Cursor, *, merged: bool) -> Format:
    """A format for one reader at ``cursor``. Raises ``InvalidPosition`` for a part of an entry that it can't have."""
    if name in FOLDS:
        return Folded(FOLDS[name], cursor, merged=merged)
    if cursor.frame:
        raise InvalidPosition(f"{cursor} is a frame of another format", field="Last-Event-ID")
    return FORMATS[name]()
