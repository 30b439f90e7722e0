"""Errors in the shape that a vendor's own SDK reads, on the routes that speak its wire. Contract section 5."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Literal, TypeAlias

from broker.errors import RejoinderError

Vendor: TypeAlias = Literal["openai", "anthropic"]

_PREFIXES: tuple[tuple[str, Vendor], ...] = (
    ("/v1/chat/completions", "openai"),
    ("/v1/responses", "openai"),
    ("/v1/messages", "anthropic"),
)
_MODELS = "/v1/models"

_OPENAI_TYPES = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
}
_ANTHROPIC_TYPES = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.NOT_FOUND: "not_found_error",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "request_too_large",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
    HTTPStatus.SERVICE_UNAVAILABLE: "overloaded_error",
    HTTPStatus.GATEWAY_TIMEOUT: "timeout_error",
}
_OPENAI_CODES = {"unknown_model": "model_not_found", "unauthorized": "invalid_api_key"}
_VENDOR_STATUS = {
    HTTPStatus.UNPROCESSABLE_ENTITY: HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: HTTPStatus.BAD_REQUEST,
    HTTPStatus.GONE: HTTPStatus.NOT_FOUND,
}
"""What no vendor's API answers, and what it answers instead."""


_NO_THREADS = {"error_code": "thread_unsupported_request"}
"""What Anthropic adds where it can't keep a conversation: the tool runners of its SDKs, which ask for that unless told
otherwise, then go on without."""


def vendor_of(path: str) -> Vendor | None:
    """Whose wire a path speaks; None = ours."""
    for prefix, vendor in _PREFIXES:
        if path == prefix or path.startswith(f"{prefix}/"):
            return vendor
    return None


def vendor_status(status: HTTPStatus) -> HTTPStatus:
    """The status as the vendors use it."""
    return _VENDOR_STATUS.get(status, status)


def vendor_body(vendor: Vendor, status: HTTPStatus, error: RejoinderError) -> dict[str, Any]:
    """The error as this vendor's SDK reads it."""
    if vendor == "anthropic":
        details = {"details": _NO_THREADS} if error.field == "thread" else {}
        return {"type": "error", "error": {"type": anthropic_type(status), "message": error.message, **details}}
    return {"error": openai_error(status, error)}


def openai_error(status: HTTPStatus, error: RejoinderError) -> dict[str, Any]:
    """What OpenAI's SDKs read of an error; Anthropic's find its message in the same place."""
    code = _OPENAI_CODES.get(error.code, error.code)
    return {"message": error.message, "type": openai_type(status), "param": error.field, "code": code}


def is_shared(path: str) -> bool:
    """Whether a path speaks to the vendors' clients and to ours alike."""
    return path == _MODELS or path.startswith(f"{_MODELS}/")


def openai_type(status: HTTPStatus) -> str:
    """The ``type`` of an OpenAI error."""
    return _OPENAI_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")


def anthropic_type(status: HTTPStatus) -> str:
    """The ``type`` of an Anthropic error."""
    return _ANTHROPIC_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
