"""Server-sent event frames as the HTML standard reads them. Pure; contract section 4, wires.md R1-R4 and R11."""

from __future__ import annotations

import re

_LINE_END = re.compile(rb"\r\n|\r|\n")
_FORGES_A_FIELD = re.compile(r"[\r\n\0]")

HEARTBEAT = b": hb\n"
"""A comment with ONE newline: a blank line after it would make openai-python dispatch an empty event (R1)."""


def encode_frame(data: bytes, *, event_id: str | None = None, event: str | None = None) -> bytes:
    r"""One event as the bytes of one write, blank line included.

    Every line end in ``data`` (UTF-8) becomes the end of a ``data:`` line, so a reader gets it back as ``\n``.

    Raises:
        ValueError: when an id or a name is empty or holds a newline or NUL, which would forge other fields or, as an
            empty id, reset the reader's cursor.
    """
    head = b""
    if event_id is not None:
        head = b"id: %s\n" % _checked(event_id)
    if event is not None:
        head += b"event: %s\n" % _checked(event)
    if b"\n" in data or b"\r" in data:
        return head + b"".join(b"data: %s\n" % line for line in _LINE_END.split(data)) + b"\n"
    return b"%sdata: %s\n\n" % (head, data)


def encode_retry(retry_ms: int) -> bytes:
    """The ``retry:`` field alone: to be put in front of a frame, never sent as a block of its own (R2)."""
    return b"retry: %d\n" % retry_ms


def _checked(value: str) -> bytes:
    if not value or _FORGES_A_FIELD.search(value):
        raise ValueError(f"{value!r} can't stand in one field of a frame")
    return value.encode()
