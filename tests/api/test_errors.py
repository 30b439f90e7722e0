"""The one table from errors to answers."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator

import pytest
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request

from api import errors
from api.errors import STATUS, InvalidFields, problem
from broker.errors import (
    Fenced,
    LogUnavailable,
    QueueFull,
    RateLimited,
    RejoinderError,
    RequestError,
    ServiceError,
    Unauthorized,
)


def tree(root: type[RejoinderError]) -> Iterator[type[RejoinderError]]:
    """A class and all below it."""
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


def test_every_error_a_request_can_meet_has_its_row() -> None:
    """Total over both branches of the tree that surface, wherever the classes are defined."""
    surfacing = {*tree(RequestError), *tree(ServiceError)}
    assert len(surfacing) > 20
    assert surfacing == set(STATUS)


def test_the_status_says_whose_fault_it_is() -> None:
    """4xx for the caller's, 5xx for ours; a lost log is simply not there any more."""
    for kind, status in STATUS.items():
        if issubclass(kind, ServiceError) and kind.code != "log_lost":
            assert status == 503
        else:
            assert 400 <= status < 500


@pytest.mark.parametrize("kind", list(STATUS))
def test_an_error_becomes_a_problem(kind: type[RejoinderError]) -> None:
    """RFC 9457 with a stable code; the field where there is one."""
    error = InvalidFields([("a.b", "is bad")]) if kind is InvalidFields else kind("no good", field="a.b")
    answer = problem(error)
    body = json.loads(bytes(answer.body))
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["status"] == answer.status_code == STATUS[kind]
    assert {"type", "title", "detail", "code", "retryable", "field"} <= body.keys()
    assert (body["code"], body["field"], body["retryable"]) == (kind.code, "a.b", kind.retryable)


@pytest.mark.parametrize("kind", [RateLimited, LogUnavailable, QueueFull])
def test_what_passes_says_when_to_come_back(kind: type[RejoinderError]) -> None:
    """Whole seconds, rounded up, never 0."""
    error = kind()
    error.retry_after_s = 0.2
    assert problem(error).headers["retry-after"] == "1"
    error.retry_after_s = 2.1
    assert problem(error).headers["retry-after"] == "3"


def test_a_missing_key_names_the_scheme() -> None:
    """RFC 9110: a 401 has a challenge."""
    assert problem(Unauthorized()).headers["www-authenticate"].startswith("Bearer")


def test_a_writers_error_never_speaks_to_a_client(caplog: pytest.LogCaptureFixture) -> None:
    """It would tell of the inside; it is logged and becomes an honest internal."""
    answer = problem(Fenced("owner token abc"))
    assert json.loads(bytes(answer.body))["code"] == "internal"
    assert b"abc" not in answer.body
    assert "Fenced" in caplog.text


def test_a_body_of_garbage_gets_a_short_answer() -> None:
    """However many fields are at fault."""
    assert len(InvalidFields([(str(n), "bad") for n in range(1000)]).errors) == errors.MAX_FIELD_ERRORS


async def test_a_wrong_parameter_is_named_and_not_repeated() -> None:
    """What was sent may be a secret in the wrong place."""
    fault = {"loc": ("query", "limit"), "msg": "Input should be a number", "type": "x", "input": "sk-secret"}
    answer = await errors.on_invalid(Request({"type": "http"}), RequestValidationError([fault]))
    body = json.loads(bytes(answer.body))
    assert body["errors"] == [{"field": "limit", "message": "Input should be a number"}]
    assert b"sk-secret" not in bytes(answer.body)


@pytest.mark.parametrize("handler", [errors.on_error, errors.on_http_error, errors.on_invalid])
async def test_a_handler_passes_on_what_is_not_its_own(
    handler: Callable[[Request, Exception], Awaitable[object]],
) -> None:
    """Nothing is swallowed by being registered wrong."""
    with pytest.raises(KeyError):
        await handler(Request({"type": "http"}), KeyError("x"))
