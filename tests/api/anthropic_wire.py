"""Pieces of logs, and what Anthropic's Messages wire says of them."""

from __future__ import annotations

import json
from typing import Any

from api.formats.anthropic import AnthropicFold
from broker.events import (
    Completed,
    Created,
    Event,
    Started,
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
)
from broker.values import FinishReason, Usage
from tests.api.folding import data_of, frames_of, numbered, submission

BEGIN: list[Event] = [Created({}), Started(1, "restart", "anthropic", "m")]
HELLO: list[Event] = [TextDelta(0, "Hel"), TextDelta(0, "lo")]
CALL: list[Event] = [
    ToolCallStarted(1, "toolu_1", "get_weather"),
    *(ToolCallDelta(1, "toolu_1", piece) for piece in ("", '{"city":', '"Paris"}')),
    ToolCallCompleted(1, "toolu_1", "get_weather", '{"city":"Paris"}'),
]


def told(*events: Event) -> list[dict[str, Any]]:
    """The JSON of each frame."""
    return [json.loads(one) for one in data_of(frames_of(AnthropicFold(submission()), numbered([*BEGIN, *events])))]


def outline(*events: Event) -> list[tuple[Any, ...]]:
    """Kind, index and what is new in each frame of a block."""
    rows: list[tuple[Any, ...]] = []
    for row in told(*events)[1:]:
        what: dict[str, Any] = row.get("content_block") or row.get("delta") or {}
        if "index" in row:
            rows.append((row["type"].removeprefix("content_block_"), row["index"], *list(what.values())[:2]))
    return rows


def end(reason: FinishReason, word: str | None = None, tokens: int = 5) -> Completed:
    """An end as Anthropic gives it."""
    return Completed(reason, word, None, Usage(3, tokens))
