"""What a provider's refusal means: status, error type and text in, one :class:`ProviderError` out. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from math import isfinite

from broker.errors import ProviderError
from worker.providers.shapes import as_dict, as_list, as_str

READ_MARGIN_S = 30.0
"""How much longer than ``stall_s`` a socket may be silent: the worker's own watchdog speaks first, and says more."""
MAX_MESSAGE = 500
"""Characters kept of a provider's message: some answer with a whole page."""

_KEY_LIKE = re.compile(r"\b(?:sk|pk|rk)-[\w*.-]{4,}|\bAIza[\w-]{8,}|\b(?:gsk|xai|hf)[-_][\w-]{8,}|(?i:\bbearer\s+)\S+")
_SHORTEST_KEY = 4
_TOO_LONG = re.compile(r"context (?:length|window)|prompt is too long|input is too long", re.IGNORECASE)
_PREFILL = re.compile(
    r"prefill|must end with a user message|continue_final_message|add_generation_prompt", re.IGNORECASE
)

_BY_STATUS: dict[int, tuple[str, bool]] = {
    401: ("provider_auth", False),
    402: ("provider_rejected", False),
    403: ("provider_auth", False),
    408: ("provider_timeout", True),
    409: ("provider_error", True),
    429: ("provider_rate_limited", True),
    502: ("provider_unavailable", True),
    503: ("provider_overloaded", True),
    504: ("provider_timeout", True),
    529: ("provider_overloaded", True),
}
_BY_WORD: dict[str, tuple[str, bool]] = {
    "context_length_exceeded": ("context_length_exceeded", False),
    "insufficient_quota": ("provider_rate_limited", False),
    "billing_error": ("provider_rejected", False),
    "billing_hard_limit_reached": ("provider_rate_limited", False),
    "content_filter": ("content_rejected", False),
    "content_policy_violation": ("content_rejected", False),
    "image_content_policy_violation": ("content_rejected", False),
    "bio_policy": ("content_rejected", False),
    "misalignment_policy_violation": ("content_rejected", False),
    "invalid_prompt": ("content_rejected", False),
    "overloaded_error": ("provider_overloaded", True),
    "overloaded": ("provider_overloaded", True),
    "rate_limit_error": ("provider_rate_limited", True),
    "rate_limit_exceeded": ("provider_rate_limited", True),
    "timeout_error": ("provider_timeout", True),
    "authentication_error": ("provider_auth", False),
    "permission_error": ("provider_auth", False),
    "invalid_api_key": ("provider_auth", False),
    "not_found_error": ("provider_rejected", False),
    "model_not_found": ("provider_rejected", False),
}
"""``code`` or ``type`` of an error -> our code, and whether to try again. It outranks the status."""
_ABOUT_IMAGES = (
    *("invalid_image", "invalid_base64_image", "image_", "unsupported_image", "empty_image"),
    "failed_to_download_image",
)
"""How OpenAI's many words for an image that it can't take begin."""
_VAGUE = ("provider_rejected", False)
"""``invalid_request_error``: compatible servers put it on anything, so the status and the text come first."""
_FIRST_ERROR, _FIRST_SERVER_ERROR = 400, 500


@dataclass(frozen=True, slots=True)
class Upstream:
    """Whom we speak to, for the text of its errors."""

    name: str
    secret: str | None = None

    def scrub(self, text: str) -> str:
        """The text without the key, without anything that looks like one, and not endless."""
        if self.secret is not None and len(self.secret) >= _SHORTEST_KEY:
            text = text.replace(self.secret, "[key]")
        text = _KEY_LIKE.sub("[key]", text)
        return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"

    def error(self, message: str, *, code: str, retryable: bool = False, status: int | None = None) -> ProviderError:
        """A :class:`ProviderError` that names the provider."""
        return ProviderError(f"{self.name}: {self.scrub(message)}", code=code, retryable=retryable, status=status)

    def refused(
        self, status: int | None, body: object, headers: Mapping[str, str], *, prefilled: bool = False
    ) -> ProviderError:
        """What the provider answered instead of an answer; ``status`` None or below 400 = in the middle of a stream.

        ``body`` is the decoded JSON or the text; ``prefilled``: the call carried the beginning of its answer.
        """
        # Gemini wraps its errors in an array.
        body = next(iter(as_list(body)), body)
        detail = as_dict(as_dict(body).get("error")) or as_dict(body)
        text = _first_text(detail.get("message"), detail.get("error"), _faults(detail.get("detail")), body)
        number = status if status is not None and status >= _FIRST_ERROR else _as_status(detail.get("code"))
        if not text or text.lstrip().startswith("<"):
            text = f"HTTP {number}" if number else "the stream ended with an error"
        code, retryable = _classify(number, as_str(detail.get("code")), as_str(detail.get("type")), text)
        if prefilled and code == "provider_rejected" and _PREFILL.search(text):
            code = "prefill_refused"
        if headers.get("x-should-retry") == "false":
            retryable = False
        error = self.error(text, code=code, retryable=retryable, status=number)
        error.retry_after_s = retry_after_s(headers)
        return error

    def broken(self, error: BaseException, *, answered: bool) -> ProviderError:
        """The connection failed: before the provider had answered, or in the middle of its answer."""
        import httpx2  # noqa: PLC0415 - imported on first use

        if not isinstance(error, (httpx2.HTTPError, httpx2.InvalidURL)):
            # An SDK's own wrapping says less than what it wraps.
            error = error.__cause__ or error
        kind = type(error).__name__
        if answered and not isinstance(error, httpx2.TimeoutException):
            return self.error(f"the stream was broken off ({kind})", code="provider_truncated", retryable=True)
        if isinstance(error, (httpx2.ReadTimeout, httpx2.WriteTimeout)):
            return self.error(f"no answer in time ({kind})", code="provider_timeout", retryable=True)
        if isinstance(error, (httpx2.InvalidURL, httpx2.UnsupportedProtocol)):
            return self.error(f"the base URL is not usable ({kind})", code="provider_rejected")
        return self.error(f"no connection ({kind})", code="provider_unavailable", retryable=True)

    def truncated(self) -> ProviderError:
        """The stream ended without the provider's own end mark."""
        return self.error("the stream ended without its end mark", code="provider_truncated", retryable=True)

    def no_key(self) -> ProviderError:
        """A key is needed and none is set."""
        return self.error("no API key is configured", code="provider_auth")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds after which the provider wants to be asked again.

    Reads ``retry-after-ms``, then ``retry-after`` as a number or as an HTTP date, which is compared with the response's
    own ``date``: the provider's clock, not ours. ``headers`` must have lower-case names or ignore case.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) / unit
        except ValueError:
            continue
        if isfinite(seconds):
            return max(0.0, seconds)
    try:
        wait = parsedate_to_datetime(headers["retry-after"]) - parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError, TypeError):
        return None
    return max(0.0, wait.total_seconds())


def _classify(status: int | None, code: str, kind: str, message: str) -> tuple[str, bool]:
    rejects = status is None or _FIRST_ERROR <= status < _FIRST_SERVER_ERROR
    for word in (code, kind):
        if word in _BY_WORD:
            return _BY_WORD[word]
        if word.startswith(_ABOUT_IMAGES):
            return "provider_rejected", False
    if rejects and status not in _BY_STATUS and _TOO_LONG.search(message):
        return "context_length_exceeded", False
    if status is None:
        return _VAGUE if "invalid_request_error" in (code, kind) else ("provider_error", True)
    by_range = ("provider_error", True) if status >= _FIRST_SERVER_ERROR else ("provider_rejected", False)
    return _BY_STATUS.get(status, by_range)


def _faults(detail: object) -> object:
    """What FastAPI's servers say of each field, as text."""
    faults = [as_dict(fault) for fault in as_list(detail)]
    said = [f"{'.'.join(map(str, as_list(fault.get('loc'))))}: {as_str(fault.get('msg'))}" for fault in faults]
    return "; ".join(said) or detail


def _first_text(*values: object) -> str:
    return next((value for value in values if isinstance(value, str) and value), "")


def _as_status(code: object) -> int | None:
    try:
        number = int(str(code))
    except ValueError:
        return None
    return number if _FIRST_ERROR <= number <= 599 else None
