"""The state table of a generation: status x event -> status. ``docs/lifecycle.md`` is drawn from it."""

from __future__ import annotations

from broker.errors import IllegalTransition
from broker.events import (
    CONTENT_TYPES,
    Cancelled,
    Completed,
    Created,
    Event,
    Failed,
    Retrying,
    Started,
)
from broker.record import Status

_WRITING: dict[type[Event], Status] = {
    Started: "running",
    Retrying: "running",
    Completed: "completed",
    Failed: "failed",
    Cancelled: "cancelled",
    **dict.fromkeys(CONTENT_TYPES, "running"),
}

NEXT: dict[Status | None, dict[type[Event], Status]] = {
    None: {Created: "queued"},
    "queued": {Started: "running", Failed: "failed", Cancelled: "cancelled"},
    "running": _WRITING,
    "completed": {},
    "failed": {},
    "cancelled": {},
}
"""``None`` is a log that does not exist. What is not in the table may not happen."""


def advance(status: Status | None, event: Event) -> Status:
    """The status after this event.

    Raises:
        IllegalTransition: when the event may not follow in this status.
    """
    try:
        return NEXT[status][type(event)]
    except KeyError:
        raise IllegalTransition(f"{type(event).__name__} may not follow in status {status}") from None
