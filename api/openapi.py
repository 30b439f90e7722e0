"""What the OpenAPI document says beyond what FastAPI can see: bodies we read ourselves, problems, headers, streams."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec

from broker.events import EVENT_TYPES
from broker.record import Record
from broker.request import GenerationRequest

_REF = "#/components/schemas/{model}"
_EVENT_REF = "#/components/schemas/{name}"

_STRING = {"type": "string"}
NODE_HEADER = {"X-Rejoinder-Node": {"description": "The node that answered", "schema": _STRING}}
ID_HEADER = {"X-Generation-Id": {"description": "The generation", "schema": _STRING}}
_SUBMIT_HEADERS = {
    **ID_HEADER,
    "Location": {"description": "The record", "schema": _STRING},
    "Idempotent-Replayed": {"description": "true: an earlier submit made it", "schema": _STRING},
}
RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer"}}}
_WITH_WAIT = (429, 503)


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Error responses, each an RFC 9457 problem."""
    return {status: _problem(status) for status in statuses}


def _problem(status: int) -> dict[str, Any]:
    return {
        "description": HTTPStatus(status).phrase,
        "headers": RETRY_AFTER if status in _WITH_WAIT else {},
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _json(schema: dict[str, Any], description: str, headers: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"description": description, "headers": headers or {}, "content": {"application/json": {"schema": schema}}}


_RECORD = {"$ref": "#/components/schemas/Record"}
_EVENT_STREAM = {
    "description": "The events. Each has an `id`, an `event` name and JSON `data`; see the schema `Event`",
    "content": {
        "text/event-stream": {"schema": _STRING},
        "application/x-ndjson": {"schema": _STRING},
        "text/plain": {"schema": _STRING},
    },
    "headers": ID_HEADER,
}
_SUBMIT_STREAM = {
    "description": "With `Accept: text/event-stream`: the events at once",
    "content": {"text/event-stream": {"schema": _STRING}},
    "headers": _SUBMIT_HEADERS,
}

SUBMIT: dict[str, Any] = {
    "responses": {
        202: _json(_RECORD, "Accepted: the record", _SUBMIT_HEADERS),
        200: _SUBMIT_STREAM,
        **problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
    },
    "openapi_extra": {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/GenerationRequest"}}},
        }
    },
}
RECORD: dict[str, Any] = {
    "responses": {200: _json(_RECORD, "The record", ID_HEADER), **problems(401, 403, 404, 422, 503)}
}
LIST: dict[str, Any] = {
    "responses": {
        200: _json({"$ref": "#/components/schemas/RecordList"}, "A page"),
        **problems(401, 403, 422, 503),
    }
}
EVENTS: dict[str, Any] = {
    "responses": {
        200: _EVENT_STREAM,
        204: {"description": "The position is the terminal event: there is nothing more, ever"},
        **problems(400, 401, 403, 404, 410, 422, 503),
    }
}
_STATUS_BODY = {"type": "object", "properties": {"status": _STRING}, "required": ["status"]}
ALIVE: dict[str, Any] = {"responses": {200: _json(_STATUS_BODY, "Alive"), **problems(403)}}
READY: dict[str, Any] = {"responses": {200: _json(_STATUS_BODY, "Ready"), **problems(403, 503)}}
METRICS: dict[str, Any] = {
    "responses": {
        200: {"description": "Prometheus text", "content": {"text/plain": {"schema": _STRING}}},
        **problems(403),
    }
}
MODEL: dict[str, Any] = {
    "responses": {200: _json({"$ref": "#/components/schemas/Model"}, "The model"), **problems(401, 403, 404)}
}
MODELS: dict[str, Any] = {
    "responses": {200: _json({"$ref": "#/components/schemas/ModelList"}, "The models"), **problems(401, 403)}
}


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Add the schemas that the routes refer to, and the header that every response has."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas |= {**_request_schemas(), **_record_schemas(), **_PLAIN_SCHEMAS}
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for operation in _operations(document):
        # FastAPI thinks that every path parameter can be invalid; ours are absent then, a 404.
        operation["responses"] = {
            status: response for status, response in operation["responses"].items() if not _is_fastapis(response)
        }
        for response in operation["responses"].values():
            response["headers"] = {**NODE_HEADER, **response.get("headers", {})}
        for parameter in operation.get("parameters", ()):
            parameter["schema"] = _without_null(parameter["schema"])
    return document


def _operations(document: dict[str, Any]) -> Iterable[dict[str, Any]]:
    for path in document["paths"].values():
        yield from path.values()


def _is_fastapis(response: dict[str, Any]) -> bool:
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    return schema.get("$ref", "").endswith("/HTTPValidationError")


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A header or a query parameter may be absent; it can't be null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {**{key: value for key, value in schema.items() if key != "anyOf"}, **kinds[0]}


def _request_schemas() -> dict[str, Any]:
    schema = GenerationRequest.model_json_schema(ref_template=_REF)
    one_prompt = [_only("messages", "array"), _only("input", "string")]
    return {**schema.pop("$defs", {}), "GenerationRequest": {**schema, "oneOf": one_prompt}}


def _only(field: str, kind: str) -> dict[str, Any]:
    return {"required": [field], "properties": {field: {"type": kind}}}


def _record_schemas() -> dict[str, Any]:
    types = [Record, *EVENT_TYPES]
    _, schemas = msgspec.json.schema_components(types, ref_template=_EVENT_REF)
    names = [kind.__name__ for kind in EVENT_TYPES]
    return {**schemas, "Event": {"oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in names]}}


_PLAIN_SCHEMAS: dict[str, Any] = {
    "Problem": {
        "type": "object",
        "description": "RFC 9457; `code` is stable",
        "required": ["type", "title", "status", "detail", "code", "retryable"],
        "properties": {
            **dict.fromkeys(("type", "title", "detail", "code", "field"), _STRING),
            "status": {"type": "integer"},
            "retryable": {"type": "boolean"},
            "errors": {
                "type": "array",
                "items": {"type": "object", "properties": {"field": _STRING, "message": _STRING}},
            },
            "error": {"type": "object", "description": "The same as OpenAI's SDKs read it, under `/v1/models`"},
        },
    },
    "RecordList": {
        "type": "object",
        "required": ["object", "data", "next_cursor"],
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": _RECORD},
            "next_cursor": {"type": ["string", "null"]},
        },
    },
    "Model": {
        "type": "object",
        "required": ["id", "object", "created", "owned_by"],
        "properties": {
            **dict.fromkeys(("id", "object", "owned_by", "type", "display_name", "created_at", "lifecycle"), _STRING),
            "created": {"type": "integer"},
        },
    },
    "ModelList": {
        "type": "object",
        "required": ["object", "data"],
        "properties": {
            "object": {"const": "list"},
            "data": {
                "type": "array",
                "items": {"$ref": "#/components/schemas/Model"},
            },
            "has_more": {"const": False},
            "first_id": {"type": ["string", "null"]},
            "last_id": {"type": ["string", "null"]},
        },
    },
}
