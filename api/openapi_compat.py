"""The OpenAPI document's part about other vendors' wires: what their own documents say is only named here."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from api.openapi import ID_HEADER, RETRY_AFTER, problems

_OBJECT = {"type": "object"}
_ERRORS = {
    "openai": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "param", "code"],
                "properties": {
                    "message": {"type": "string"},
                    "type": {"type": "string"},
                    "param": {"type": ["string", "null"]},
                    "code": {"type": ["string", "null"]},
                },
            }
        },
    },
    "anthropic": {
        "type": "object",
        "required": ["type", "error"],
        "properties": {
            "type": {"const": "error"},
            "error": {
                "type": "object",
                "required": ["type", "message"],
                "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}
_EVENT = {"type": "object", "description": "A server-sent event", "properties": {"data": {"type": "string"}}}
_HEADERS = {
    **ID_HEADER,
    "X-Rejoinder-Ignored": {
        "description": "Hints of the request that say nothing to this model's provider",
        "schema": {"type": "string"},
    },
}
_ASK = (400, 401, 403, 404, 409, 413, 429, 502, 503, 504)
_LOOK = (400, 401, 403, 404, 503)


def _operation(vendor: str, what: str, statuses: tuple[int, ...], *, body: str = "", streams: bool = False) -> Any:
    content: dict[str, Any] = {"application/json": {"schema": _OBJECT}}
    if streams:
        content["text/event-stream"] = {"schema": _EVENT}
    answers: dict[int | str, Any] = {200: {"description": what, "headers": _HEADERS, "content": content}}
    for status in statuses:
        answers[status] = {
            "description": HTTPStatus(status).phrase,
            "headers": RETRY_AFTER if status in (429, 503) else {},
            "content": {"application/json": {"schema": _ERRORS[vendor]}},
        }
    if not body:
        return {"responses": answers}
    schema = {"type": "object", "required": ["model"], "description": body, "properties": {"model": {"type": "string"}}}
    asked = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"responses": answers, "openapi_extra": {"requestBody": asked}}


CHAT: dict[str, Any] = _operation(
    "openai", "A chat.completion, or its chunks", _ASK, body="As OpenAI's POST /chat/completions", streams=True
)
RESPONSE_CREATE: dict[str, Any] = _operation(
    "openai", "A Response, or its events", _ASK, body="As OpenAI's POST /responses", streams=True
)
RESPONSE_GET: dict[str, Any] = _operation("openai", "A Response, or its events", _LOOK, streams=True)
RESPONSE_GET["responses"][204] = {"description": "Last-Event-ID is that of the last event: there is nothing more, ever"}
RESPONSE_LOOK: dict[str, Any] = _operation("openai", "The Response", _LOOK)
RESPONSE_DELETED: dict[str, Any] = _operation("openai", "It is gone", _LOOK)
MESSAGES: dict[str, Any] = _operation(
    "anthropic", "A Message, or its events", _ASK, body="As Anthropic's POST /v1/messages", streams=True
)

_RUN_HEADERS = {
    **_HEADERS,
    "X-Workflow-Run-Id": {
        "description": "The same id, by the name that WorkflowChatTransport knows",
        "schema": {"type": "string"},
    },
}
_UI_BODY = {
    "type": "object",
    "required": ["messages", "model"],
    "description": "As useChat's transports post it; an app's own fields are left alone",
    "properties": {"messages": {"type": "array", "minItems": 1}, "model": {"type": "string"}},
}


def _chunks(*statuses: int, nothing: str = "") -> dict[int | str, Any]:
    content = {"text/event-stream": {"schema": _EVENT}}
    answers: dict[int | str, Any] = {
        200: {"description": "A UI message stream, version 1", "headers": _RUN_HEADERS, "content": content}
    }
    if nothing:
        answers[204] = {"description": nothing}
    return answers | problems(*statuses)


UI_CHAT: dict[str, Any] = {
    "responses": _chunks(400, 401, 403, 404, 409, 413, 422, 429, 503),
    "openapi_extra": {"requestBody": {"required": True, "content": {"application/json": {"schema": _UI_BODY}}}},
}
UI_STREAM: dict[str, Any] = {
    "responses": _chunks(400, 401, 403, 404, 410, 422, 503, nothing="Nobody waits for an answer in this chat")
}
UI_STOP: dict[str, Any] = {
    "responses": {
        200: {
            "description": "It is stopped, or there was nothing to stop",
            "content": {"application/json": {"schema": {"type": "object", "required": ["success"]}}},
        },
        **problems(400, 401, 403, 404, 413, 422, 503),
    }
}
