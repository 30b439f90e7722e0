"""Reading a JSON body: what is not JSON is told apart from what is not meant, and each fault names its field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec
from pydantic import ValidationError
from starlette.requests import Request

from api.errors import InvalidFields, MalformedBody, UnsupportedMediaType
from broker.request import GenerationRequest

_MAX_COMPARED = 200


async def read_generation_request(request: Request) -> GenerationRequest:
    """The request in the body.

    Raises:
        UnsupportedMediaType: when the body says that it is something else than JSON.
        MalformedBody: when it is no JSON; that includes bad UTF-8, lone surrogates, NaN and nesting without end.
        InvalidFields: when it is no :class:`GenerationRequest`.
        BodyTooLarge: when it is over the limit.
    """
    if not is_json(request.headers.get("content-type")):
        raise UnsupportedMediaType
    return parse_generation_request(await request.body())


def is_json(content_type: str | None) -> bool:
    """Whether a Content-Type says JSON, or says nothing."""
    media_type = (content_type or "application/json").partition(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))


def parse_generation_request(raw: bytes) -> GenerationRequest:
    """The request in these bytes; strict, so that what the OpenAPI document says is what holds."""
    try:
        value: object = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise MalformedBody(f"the body is not valid JSON: {_short(error)}") from None
    try:
        return GenerationRequest.model_validate_json(raw, strict=True)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        if any(fault["type"] == "json_invalid" for fault in faults):
            raise MalformedBody(f"the body is not valid JSON: {faults[0]['msg'][:200]}") from None
        named = [
            (field_path(fault["loc"], value, missing=fault["type"] == "missing"), _plain(fault["msg"]))
            for fault in faults
        ]
        raise InvalidFields(_deepest(named)) from None


def _deepest(faults: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Without the faults of a field in which something deeper is at fault: those are the other arms of a union."""
    paths = [f"{path}." for path, _ in faults]
    return [
        (path, text)
        for path, text in faults[:_MAX_COMPARED]
        if not path or not any(other.startswith(f"{path}.") and other != f"{path}." for other in paths[:_MAX_COMPARED])
    ]


def field_path(loc: Sequence[int | str], value: object, *, missing: bool = False) -> str:
    """``messages.0.content`` from pydantic's location, which also names the arms of unions it tried on the way.

    ``missing`` = the last step is a field that the request should have and has not.
    """
    path: list[str] = []
    for index, step in enumerate(loc):
        last = index == len(loc) - 1
        if isinstance(value, dict) and isinstance(step, str):
            fields = cast("dict[str, Any]", value)
            if step not in fields and not (last and missing):
                continue
            value = fields.get(step)
        elif isinstance(value, list) and isinstance(step, int):
            items = cast("list[Any]", value)
            value = items[step] if step < len(items) else None
        else:
            continue
        path.append(str(step))
    return ".".join(path)


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")


def _short(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
