"""Joining neighbouring deltas into one: pure."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from broker.events import (
    DELTA_TYPES,
    Delta,
    Entry,
    Event,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
)
from broker.position import START

MERGE_LIMIT = 32 * 1024
"""UTF-8 bytes a merged delta may hold (contract section 4)."""


D = TypeVar("D", TextDelta, ReasoningDelta, RefusalDelta, ToolCallDelta)


def delta_text(event: Delta) -> str:
    """The text a delta carries."""
    return event.arguments if isinstance(event, ToolCallDelta) else event.text


def can_join(first: Event, second: Event) -> bool:
    """Whether two neighbours say the same thing when they are said as one event."""
    match first, second:
        case (TextDelta(), TextDelta()) | (RefusalDelta(), RefusalDelta()):
            return first.block == second.block
        case ReasoningDelta(), ReasoningDelta():
            unsigned = first.signature is None and first.opaque is None and second.signature is None
            return first.block == second.block and unsigned and second.opaque is None
        case ToolCallDelta(), ToolCallDelta():
            return first.block == second.block and first.call_id == second.call_id
        case _:
            return False


def join(events: list[D], *, merged: int | None = None) -> D:
    """One event for a run of events, each joinable with the next; ``merged`` is set as given."""
    first = events[0]
    text = "".join(map(delta_text, events))
    if isinstance(first, ToolCallDelta):
        return msgspec.structs.replace(first, arguments=text, merged=merged)
    return msgspec.structs.replace(first, text=text, merged=merged)


def merge_entries(entries: list[Entry]) -> list[Entry]:
    """Join neighbouring deltas: never across a block, an epoch, a type or 32 KiB (contract section 4)."""
    merged: list[Entry] = []
    run: list[Any] = []
    size = 0
    last = START

    def close() -> None:
        if run:
            merged.append(Entry(last, join(run, merged=len(run)) if len(run) > 1 else run[0]))
            run.clear()

    for position, event in entries:
        weight = len(delta_text(event).encode()) if isinstance(event, DELTA_TYPES) else 0
        joins = bool(run) and position.epoch == last.epoch and can_join(run[-1], event)
        if not joins or size + weight > MERGE_LIMIT:
            close()
            size = 0
        run.append(event)
        size += weight
        last = position
    close()
    return merged
