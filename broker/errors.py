"""Every error Rejoinder raises on purpose, in one tree.

::

    RejoinderError                     code                  retryable
    ├── RequestError                   (the caller's fault)
    │   ├── InvalidRequest             invalid_request       no
    │   ├── InvalidPosition            bad_event_id          no
    │   ├── ResumeNeedsKey             resume_needs_key      no
    │   ├── Unauthorized               unauthorized          no
    │   ├── Forbidden                  forbidden             no
    │   ├── UnknownModel               unknown_model         no
    │   ├── GenerationNotFound         not_found             no
    │   ├── LogExpired                 log_expired           no
    │   ├── LogDamaged                 log_damaged           no
    │   ├── IdempotencyConflict        idempotency_conflict  no
    │   ├── BodyTooLarge               body_too_large        no
    │   └── RateLimited                rate_limited          yes
    ├── ServiceError                   (ours, or Redis's)
    │   ├── LogUnavailable             log_unavailable       yes
    │   │   └── LogFull                log_full              yes
    │   ├── QueueFull                  queue_full            yes
    │   ├── LogLost                    log_lost              no
    │   └── UnfitServer                unfit_server          no
    ├── WriterError                    (a writer must stop)
    │   ├── Fenced                     fenced                no
    │   └── AlreadyEnded               already_ended         no
    ├── IllegalTransition              illegal_transition    no
    └── ProviderError                  provider_error, …     per instance
"""

from __future__ import annotations

from typing import ClassVar


class RejoinderError(Exception):
    """Base of the tree: a stable ``code``, whether a retry can help, and a message for people."""

    code: str = "internal"
    retryable: ClassVar[bool] = False
    retry_after_s: float | None = None
    """Seconds after which a retry makes sense, where that is known."""

    def __init__(self, message: str = "", *, field: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])
        self.field = field
        """The request field at fault, as a dotted path, where there is one."""

    @property
    def message(self) -> str:
        """The text for people."""
        return str(self)


class RequestError(RejoinderError):
    """The request can't be served as it stands."""

    code = "bad_request"


class InvalidRequest(RequestError):
    """The request is not well formed."""

    code = "invalid_request"


class InvalidPosition(RequestError):
    """The event id is not of the form <epoch>-<seq>."""

    code = "bad_event_id"


class ResumeNeedsKey(RequestError):
    """A re-POST with Last-Event-ID needs the Idempotency-Key of the first POST."""

    code = "resume_needs_key"


class Unauthorized(RequestError):
    """A valid API key is required."""

    code = "unauthorized"


class Forbidden(RequestError):
    """This caller may not do that."""

    code = "forbidden"


class UnknownModel(RequestError):
    """No provider serves this model."""

    code = "unknown_model"


class GenerationNotFound(RequestError):
    """There is no such generation."""

    code = "not_found"


class LogExpired(RequestError):
    """The log of this generation has passed its retention."""

    code = "log_expired"


class LogDamaged(RequestError):
    """The log of this generation has a hole that nobody can fill."""

    code = "log_damaged"


class IdempotencyConflict(RequestError):
    """The Idempotency-Key was used with another request body."""

    code = "idempotency_conflict"


class BodyTooLarge(RequestError):
    """The request body is too large."""

    code = "body_too_large"


class RateLimited(RequestError):
    """Too many requests."""

    code = "rate_limited"
    retryable = True
    retry_after_s = 1.0


class ServiceError(RejoinderError):
    """The service can't do it at this moment."""

    code = "unavailable"


class LogUnavailable(ServiceError):
    """Redis can't be reached."""

    code = "log_unavailable"
    retryable = True
    retry_after_s = 2.0


class LogFull(LogUnavailable):
    """Redis has no memory left for more (maxmemory)."""

    code = "log_full"
    retry_after_s = 10.0


class QueueFull(ServiceError):
    """The queue is full."""

    code = "queue_full"
    retryable = True
    retry_after_s = 5.0


class LogLost(ServiceError):
    """The log of this generation is gone from Redis."""

    code = "log_lost"


class UnfitServer(ServiceError):
    """This Redis would lose what it was given."""

    code = "unfit_server"


class WriterError(RejoinderError):
    """A writer must stop: the log is no longer its own."""

    code = "writer"


class Fenced(WriterError):
    """Another owner holds the log now."""

    code = "fenced"


class AlreadyEnded(WriterError):
    """The log has its terminal event already."""

    code = "already_ended"


class IllegalTransition(RejoinderError):
    """The event may not follow in this status."""

    code = "illegal_transition"


class ProviderError(RejoinderError):
    """The provider refused, broke off, or sent something that can't be trusted.

    Codes in use: ``provider_error``, ``provider_auth``, ``provider_rate_limited``, ``provider_overloaded``,
    ``provider_unavailable``, ``provider_timeout``, ``provider_stalled``, ``provider_truncated``,
    ``provider_malformed``, ``provider_rejected``, ``context_length_exceeded``, ``content_rejected``,
    ``prefill_refused``, ``provider_forgot``, ``output_too_large``.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "provider_error",
        retryable: bool = False,
        status: int | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.can_retry = retryable
        """Whether the same call may succeed later (429, 5xx, connection trouble)."""
        self.status = status
        """The provider's HTTP status, where there was one."""
        self.retry_after_s = retry_after_s
