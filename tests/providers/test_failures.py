"""What refusals mean: one table for all upstreams."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.providers.failures import MAX_MESSAGE, Upstream, retry_after_s

UPSTREAM = Upstream("up", "hush-hush")


def body(message: str = "m", **more: Any) -> dict[str, Any]:
    """An error as both vendors wrap it."""
    return {"error": {"message": message, **more}}


@pytest.mark.parametrize(
    ("status", "answer", "code", "retryable"),
    [
        (400, body(), "provider_rejected", False),
        (400, body(code="context_length_exceeded"), "context_length_exceeded", False),
        (400, body("maximum context length is 8"), "context_length_exceeded", False),
        (400, body("prompt is too long: 9 > 8", type="invalid_request_error"), "context_length_exceeded", False),
        (400, body(code="content_policy_violation"), "content_rejected", False),
        (400, body(code="content_filter"), "content_rejected", False),
        (401, body(type="invalid_request_error"), "provider_auth", False),
        (402, body(type="billing_error"), "provider_rejected", False),
        (403, body(type="permission_error"), "provider_auth", False),
        (404, body(code="model_not_found", type="invalid_request_error"), "provider_rejected", False),
        (404, body(type="not_found_error"), "provider_rejected", False),
        (408, None, "provider_timeout", True),
        (409, None, "provider_error", True),
        (413, body("prompt is too long"), "context_length_exceeded", False),
        (422, body(), "provider_rejected", False),
        (429, body("too long a context window of requests"), "provider_rate_limited", True),
        (429, body(code="rate_limit_exceeded"), "provider_rate_limited", True),
        (429, body(code="insufficient_quota", type="insufficient_quota"), "provider_rate_limited", False),
        (500, body(), "provider_error", True),
        (502, "<html>Bad Gateway</html>", "provider_unavailable", True),
        (503, None, "provider_overloaded", True),
        (504, None, "provider_timeout", True),
        (529, body(type="overloaded_error"), "provider_overloaded", True),
        (599, None, "provider_error", True),
        (None, body(type="overloaded_error"), "provider_overloaded", True),
        (200, body(type="overloaded_error"), "provider_overloaded", True),
        (None, body(type="rate_limit_error"), "provider_rate_limited", True),
        (None, body(type="api_error"), "provider_error", True),
        (None, body(type="invalid_request_error"), "provider_rejected", False),
        (None, body("prompt is too long", type="invalid_request_error"), "context_length_exceeded", False),
        (None, body(code=502), "provider_unavailable", True),
        (None, body(code="418"), "provider_rejected", False),
    ],
)
def test_the_table(status: int | None, answer: object, code: str, *, retryable: bool) -> None:
    """Status, type and text of an error, and what they mean."""
    error = UPSTREAM.refused(status, answer, {})
    assert (error.code, error.can_retry) == (code, retryable)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (body("said"), "up: said"),
        ({"message": "said", "object": "error"}, "up: said"),
        ({"error": "said"}, "up: said"),
        ({"detail": "said"}, "up: said"),
        ([body("said")], "up: said"),
        ({"detail": [{"loc": ["body", "top_k"], "msg": "said"}]}, "up: body.top_k: said"),
        ("said", "up: said"),
        (" <!doctype html>", "up: HTTP 418"),
        (None, "up: HTTP 418"),
        ([], "up: HTTP 418"),
        (body(""), "up: HTTP 418"),
    ],
)
def test_where_the_text_is(answer: object, message: str) -> None:
    """Servers put it in different places; a page is none."""
    assert UPSTREAM.refused(418, answer, {}).message == message


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "7", "retry-after-ms": "150"}, 0.15),
        ({"retry-after": "7", "retry-after-ms": "soon"}, 7.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "Fri, 20 Nov 2026 12:00:30 GMT", "date": "Fri, 20 Nov 2026 12:00:00 GMT"}, 30.0),
        ({"retry-after": "Fri, 20 Nov 2026 11:00:00 GMT", "date": "Fri, 20 Nov 2026 12:00:00 GMT"}, 0.0),
        ({"retry-after": "Fri, 20 Nov 2026 12:00:30 GMT"}, None),
        ({"retry-after": "Fri, 20 Nov 2026 12:00:30 -0000", "date": "Fri, 20 Nov 2026 12:00:00 GMT"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, milliseconds, or a date by the provider's own clock."""
    assert retry_after_s(httpx2.Headers(headers)) == seconds
    assert UPSTREAM.refused(429, None, headers).retry_after_s == seconds


def test_a_provider_may_forbid_retries() -> None:
    """``x-should-retry: false`` outranks the table; true does not, for it would repeat what can't succeed."""
    assert not UPSTREAM.refused(429, None, {"x-should-retry": "false"}).can_retry
    assert not UPSTREAM.refused(400, None, {"x-should-retry": "true"}).can_retry


def test_prefill() -> None:
    """Only a call that carried a prefix can have it refused."""
    answer = body("This model does not support assistant message prefill.")
    assert UPSTREAM.refused(400, answer, {}, prefilled=True).code == "prefill_refused"
    assert UPSTREAM.refused(400, answer, {}).code == "provider_rejected"
    assert UPSTREAM.refused(400, body("other"), {}, prefilled=True).code == "provider_rejected"


@pytest.mark.parametrize(
    "secret",
    [
        "hush-hush",
        "sk-abcdef123",
        "sk-proj-Ab_9***xyz",
        "sk-ant-api03-zzz",
        "AIzaSyA-1234567890",
        "gsk_abcdefgh123",
        "Bearer abc.def",
        "bearer tok",
    ],
)
def test_secrets_are_scrubbed(secret: str) -> None:
    """The key itself, and whatever looks like one."""
    message = UPSTREAM.refused(401, body(f"wrong: {secret}, see docs"), {}).message
    assert secret not in message
    assert message.startswith("up: wrong: [key]")


@given(st.text(min_size=4), st.text(), st.text())
def test_the_key_never_shows(secret: str, before: str, after: str) -> None:
    """Wherever the provider puts it."""
    scrubbed = Upstream("up", secret).scrub(before + secret + after)
    assert secret not in scrubbed.replace("[key]", "")


def test_messages_end() -> None:
    """Nobody's page of text gets into a log entry."""
    assert len(UPSTREAM.scrub("x" * 10_000)) == MAX_MESSAGE


@pytest.mark.parametrize(
    ("error", "answered", "code", "retryable"),
    [
        (httpx2.ConnectError("x"), False, "provider_unavailable", True),
        (httpx2.ConnectTimeout("x"), False, "provider_unavailable", True),
        (httpx2.PoolTimeout("x"), False, "provider_unavailable", True),
        (httpx2.ReadTimeout("x"), False, "provider_timeout", True),
        (httpx2.ReadTimeout("x"), True, "provider_timeout", True),
        (httpx2.WriteTimeout("x"), False, "provider_timeout", True),
        (httpx2.RemoteProtocolError("x"), False, "provider_unavailable", True),
        (httpx2.RemoteProtocolError("x"), True, "provider_truncated", True),
        (httpx2.ReadError("x"), True, "provider_truncated", True),
        (httpx2.UnsupportedProtocol("x"), False, "provider_rejected", False),
        (httpx2.InvalidURL("x"), False, "provider_rejected", False),
    ],
)
def test_broken_connections(error: Exception, *, answered: bool, code: str, retryable: bool) -> None:
    """Before the answer and in the middle of it."""
    failure = UPSTREAM.broken(error, answered=answered)
    assert (failure.code, failure.can_retry, failure.status) == (code, retryable, None)
