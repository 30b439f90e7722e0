"""From an error class to an HTTP answer: one table, and the problem body of RFC 9457. Contract section 3."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match

from api.vendor_errors import is_shared, openai_error, vendor_body, vendor_of, vendor_status
from broker import errors as e
from broker.dialects.vendors import Untranslatable
from broker.values import ErrorInfo

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_JSON = "application/json"
_INTERNAL = "something is broken on our side; it has been logged"
MAX_FIELD_ERRORS = 20
"""Fields at fault that one answer lists: a body of garbage must not be answered with a larger one."""


class MalformedBody(e.InvalidRequest):
    """The body is not JSON."""


class InvalidFields(e.InvalidRequest):
    """The request is well formed and can't be meant: ``errors`` holds (field, message) for each fault."""

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        self.errors = [{"field": field, "message": text} for field, text in errors[:MAX_FIELD_ERRORS]]
        field, text = errors[0]
        super().__init__(f"{field}: {text}" if field else text, field=field or None)


class UnsupportedMediaType(e.RequestError):
    """The body must be application/json."""

    code = "unsupported_media_type"


class NoSuchRoute(e.RequestError):
    """There is nothing at this path."""

    code = "not_found"


class MethodNotAllowed(e.RequestError):
    """The path does not take this method."""

    code = "method_not_allowed"


class UpgradeRequired(e.RequestError):
    """This path speaks WebSocket, and the request does not ask for it."""

    code = "upgrade_required"


class Draining(e.ServiceError):
    """The node is leaving; another one takes its place."""

    code = "draining"
    retryable = True
    retry_after_s = 1.0


class AnswerFailed(e.RejoinderError):
    """The generation of a plain request has no answer: ``status`` is the HTTP status that says so best.

    ``headers``: what the answer would have said of the generation.
    """

    def __init__(self, message: str, headers: Mapping[str, str], *, code: str, status: int) -> None:
        super().__init__(message)
        self.headers = headers
        self.code = code
        self.status = HTTPStatus(status)

    @classmethod
    def of(cls, error: ErrorInfo, headers: Mapping[str, str]) -> AnswerFailed:
        """What a failed generation says."""
        status = ANSWER_STATUS.get(error.code, HTTPStatus.SERVICE_UNAVAILABLE if error.retryable else _BAD_GATEWAY)
        failed = cls(error.message, headers, code=error.code, status=status)
        failed.can_retry = error.retryable
        return failed

    can_retry = False
    """Whether the same request may succeed later."""


_BAD_GATEWAY = HTTPStatus.BAD_GATEWAY
ANSWER_STATUS = {
    "provider_rejected": HTTPStatus.BAD_REQUEST,
    "context_length_exceeded": HTTPStatus.BAD_REQUEST,
    "content_rejected": HTTPStatus.BAD_REQUEST,
    "provider_rate_limited": HTTPStatus.TOO_MANY_REQUESTS,
    "provider_timeout": HTTPStatus.GATEWAY_TIMEOUT,
    "provider_stalled": HTTPStatus.GATEWAY_TIMEOUT,
}
"""What the code of a failed generation becomes as a status; others are 503 where a retry may help, else 502."""

STATUS: dict[type[e.RejoinderError], HTTPStatus] = {
    e.RequestError: HTTPStatus.BAD_REQUEST,
    e.InvalidRequest: HTTPStatus.UNPROCESSABLE_ENTITY,
    InvalidFields: HTTPStatus.UNPROCESSABLE_ENTITY,
    MalformedBody: HTTPStatus.BAD_REQUEST,
    Untranslatable: HTTPStatus.UNPROCESSABLE_ENTITY,
    e.InvalidPosition: HTTPStatus.BAD_REQUEST,
    e.ResumeNeedsKey: HTTPStatus.CONFLICT,
    e.Unauthorized: HTTPStatus.UNAUTHORIZED,
    e.Forbidden: HTTPStatus.FORBIDDEN,
    e.UnknownModel: HTTPStatus.NOT_FOUND,
    e.GenerationNotFound: HTTPStatus.NOT_FOUND,
    NoSuchRoute: HTTPStatus.NOT_FOUND,
    MethodNotAllowed: HTTPStatus.METHOD_NOT_ALLOWED,
    e.LogExpired: HTTPStatus.GONE,
    e.LogDamaged: HTTPStatus.GONE,
    e.IdempotencyConflict: HTTPStatus.CONFLICT,
    e.BodyTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UpgradeRequired: HTTPStatus.UPGRADE_REQUIRED,
    UnsupportedMediaType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    e.RateLimited: HTTPStatus.TOO_MANY_REQUESTS,
    e.ServiceError: HTTPStatus.SERVICE_UNAVAILABLE,
    e.LogUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    e.LogFull: HTTPStatus.SERVICE_UNAVAILABLE,
    e.UnfitServer: HTTPStatus.SERVICE_UNAVAILABLE,
    e.QueueFull: HTTPStatus.SERVICE_UNAVAILABLE,
    Draining: HTTPStatus.SERVICE_UNAVAILABLE,
    e.LogLost: HTTPStatus.NOT_FOUND,
}
"""The status of every error a request can meet. Writers' and providers' errors end in the log, never in an answer."""


def status_of(error: e.RejoinderError) -> HTTPStatus:
    """The status of an error; 503 for one that should never have come this far."""
    if isinstance(error, AnswerFailed):
        return error.status
    return STATUS.get(type(error), HTTPStatus.SERVICE_UNAVAILABLE)


def problem(error: e.RejoinderError, path: str = "", headers: dict[str, str] | None = None) -> Response:
    """The answer that an error becomes at a path: where a vendor's wire is spoken, in that vendor's shape."""
    if type(error) not in STATUS and not isinstance(error, AnswerFailed):
        log.error("an error came to a request that should not: %r", error)
        error = e.RejoinderError(_INTERNAL)
    status = status_of(error)
    headers = {**_headers(error), **(headers or {})}
    vendor = vendor_of(path)
    if vendor is not None:
        status = vendor_status(status)
        # Their SDKs would try again after any 409 and 5xx.
        can_retry = error.can_retry if isinstance(error, AnswerFailed) else error.retryable
        headers["x-should-retry"] = "true" if can_retry else "false"
        return Response(msgspec.json.encode(vendor_body(vendor, status, error)), status.value, headers, _JSON)
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": error.message,
        "code": error.code,
        "retryable": error.retryable,
    }
    if error.field:
        body["field"] = error.field
    if isinstance(error, InvalidFields):
        body["errors"] = error.errors
    if is_shared(path) or isinstance(error, NoSuchRoute):
        # Who asks for a route that we do not have may well be an SDK, which looks nowhere else.
        body["error"] = openai_error(status, error)
    return Response(msgspec.json.encode(body), status.value, headers, MEDIA_TYPE)


def _headers(error: e.RejoinderError) -> dict[str, str]:
    headers = {"cache-control": "no-store", **(error.headers if isinstance(error, AnswerFailed) else {})}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
    if isinstance(error, UpgradeRequired):
        headers |= {"upgrade": "websocket", "connection": "upgrade"}
    if isinstance(error, e.Unauthorized):
        headers["www-authenticate"] = 'Bearer realm="rejoinder"'
    return headers


# -- what FastAPI calls ---------------------------------------------------------------------------------------------


async def on_error(request: Request, error: Exception) -> Response:
    """One of our own errors."""
    if not isinstance(error, e.RejoinderError):
        raise error
    return problem(error, request.scope.get("path", ""))


async def on_http_error(request: Request, error: Exception) -> Response:
    """What the router refuses."""
    if not isinstance(error, HTTPException):
        raise error
    if error.status_code == HTTPStatus.NOT_FOUND:
        return problem(NoSuchRoute(), request.scope.get("path", ""))
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return problem(MethodNotAllowed(), request.scope.get("path", ""), {"allow": ", ".join(_allowed(request))})
    return problem(e.RequestError(str(error.detail)), request.scope.get("path", ""))


async def on_invalid(request: Request, error: Exception) -> Response:
    """A parameter that FastAPI found wrong. What was sent is not repeated: it may be a secret in the wrong place."""
    if not isinstance(error, RequestValidationError):
        raise error
    faults = [(".".join(map(str, fault["loc"][1:])), str(fault["msg"])) for fault in error.errors()]
    return problem(InvalidFields(faults), request.scope.get("path", ""))


async def on_unexpected(request: Request, error: Exception) -> Response:
    """The last resort: no input may lead here."""
    del error
    return internal(request.scope.get("path", ""))


async def on_disconnect(request: Request, error: Exception) -> Response:
    """The client went away while it was sending; nobody reads this."""
    del request, error
    return Response(status_code=400)


def internal(path: str = "") -> Response:
    """The answer to an error of ours."""
    vendor = vendor_of(path)
    if vendor is not None:
        error = e.RejoinderError(_INTERNAL)
        body = vendor_body(vendor, HTTPStatus.INTERNAL_SERVER_ERROR, error)
        return Response(msgspec.json.encode(body), 503, {"x-should-retry": "false"}, _JSON)
    body = {"type": "about:blank", "title": "Service Unavailable", "status": 503, "code": "internal"}
    body |= {"detail": _INTERNAL, "retryable": False}
    return Response(msgspec.json.encode(body), 503, None, MEDIA_TYPE)


HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    e.RejoinderError: on_error,
    HTTPException: on_http_error,
    RequestValidationError: on_invalid,
    ClientDisconnect: on_disconnect,
    Exception: on_unexpected,
}


def _allowed(request: Request) -> list[str]:
    methods: set[str] = set()
    for method in ("DELETE", "GET", "HEAD", "POST"):
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes):
            methods.add(method)
    return sorted(methods)
