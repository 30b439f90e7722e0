"""What requests say beside their bodies: ids, positions, keys, and which format is wanted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends, Header, Path, Query, Request
from pydantic import JsonValue

from api.formats import MEDIA_TYPES, FormatName
from broker.errors import GenerationNotFound, InvalidPosition
from broker.position import Cursor, Position, parse_cursor, parse_position

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


def generation_id(text: str) -> str:
    """An id from outside. Raises ``GenerationNotFound`` for what can't be one, before Redis is asked."""
    if not _ID.fullmatch(text):
        raise GenerationNotFound
    return text


async def _generation(generation: Annotated[str, Path(description="gen_…")]) -> str:
    return generation_id(generation)


GenerationId = Annotated[str, Depends(_generation)]
"""The id in the path. Raises ``GenerationNotFound`` for what can't be one, before Redis is asked."""

IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="The same key and the same JSON value mean the same generation",
    ),
]

_LAST_EVENT_ID = "Last-Event-ID"
# For the OpenAPI document only: broker.position is what judges.
_PATTERN: dict[str, JsonValue] = {"pattern": r"^((0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15}))?$"}
_FRAMES: dict[str, JsonValue] = {"pattern": r"^((0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15})(\.[1-9][0-9]{0,5})?)?$"}


async def _header_position(
    request: Request,
    _header: Annotated[
        str | None,
        Header(alias=_LAST_EVENT_ID, description="The id of the last event received", json_schema_extra=_PATTERN),
    ] = None,
) -> Position | None:
    text = request.headers.get(_LAST_EVENT_ID)
    return None if text is None else parse_position(text)


HeaderPosition = Annotated[Position | None, Depends(_header_position)]
"""The position in ``Last-Event-ID``; None when there is no such header. Raises ``InvalidPosition``."""


async def _cursor(
    request: Request,
    _header: Annotated[
        str | None,
        Header(alias=_LAST_EVENT_ID, description="The id of the last event received", json_schema_extra=_FRAMES),
    ] = None,
    last_event_id: Annotated[
        str | None,
        Query(description="The same, where no header can be set; the header wins", json_schema_extra=_FRAMES),
    ] = None,
    polyfill: Annotated[
        str | None,
        Query(
            alias="lastEventId", description="The same, as polyfills of EventSource say it", json_schema_extra=_FRAMES
        ),
    ] = None,
) -> Cursor:
    header = request.headers.get(_LAST_EVENT_ID)
    if header is not None:
        return parse_cursor(header)
    field, text = ("last_event_id", last_event_id) if last_event_id is not None else ("lastEventId", polyfill)
    try:
        return parse_cursor(text)
    except InvalidPosition as error:
        raise InvalidPosition(error.message, field=field) from None


ReaderCursor = Annotated[Cursor, Depends(_cursor)]
"""Where the reader stands: by the header, even an empty one, else by the query. Raises ``InvalidPosition``."""


async def _format(
    request: Request,
    format: Annotated[  # noqa: A002 - the parameter's name on the wire
        FormatName | None, Query(description="native (or sse), ndjson or text; without it Accept decides")
    ] = None,
) -> FormatName:
    return format or preferred(request.headers.get("accept"), MEDIA_TYPES) or "native"


ReaderFormat = Annotated[FormatName, Depends(_format)]
"""The format asked for by ``?format=``, else by ``Accept``, else SSE."""


def preferred(accept: str | None, choices: Mapping[str, FormatName]) -> FormatName | None:
    """The choice that an ``Accept`` header likes best: by ``q``, then by order; None when it names no choice."""
    best: FormatName | None = None
    best_q = 0.0
    for part in (accept or "").split(","):
        media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
        q = _quality(parameters)
        if media_type in choices and q > best_q:
            best, best_q = choices[media_type], q
    return best


def wants_stream(accept: str | None) -> bool:
    """Whether an ``Accept`` header names SSE and likes nothing better."""
    kinds: dict[str, FormatName] = {"text/event-stream": "sse", "application/json": "native", "*/*": "native"}
    return preferred(accept, kinds) == "sse"


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0
    return 1.0
