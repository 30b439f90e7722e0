"""One answer of the Responses API that has everything in it, and where its making stands still."""

from __future__ import annotations

from typing import Any

from broker.events import CONTENT_TYPES, ContentEvent
from tests.support.background import HOLD, Script
from worker.providers.blocks import Blocks
from worker.providers.failures import Upstream
from worker.providers.openai_responses_map import ResponseState, events_from_response

USAGE = {"input_tokens": 9, "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 16}


def begun() -> list[dict[str, Any]]:
    """How every answer begins."""
    return [{"type": f"response.{word}", "response": {"status": "queued"}} for word in ("created", "in_progress")]


def ended(status: str = "completed", **more: Any) -> dict[str, Any]:
    """How every answer ends."""
    return {"type": f"response.{status}", "response": {"status": status, "usage": USAGE, **more}}


def delta(kind: str, text: str, index: int, **more: Any) -> dict[str, Any]:
    """One token."""
    return {"type": f"response.{kind}.delta", "output_index": index, "delta": text, **more}


def item(index: int, **fields: Any) -> list[dict[str, Any]]:
    """The beginning and the end of an item."""
    ends = ("added", "done")
    return [{"type": f"response.output_item.{end}", "output_index": index, "item": fields} for end in ends]


def text(*parts: str) -> list[dict[str, Any]]:
    """Tokens of the message."""
    return [delta("output_text", part, 3, content_index=0) for part in parts]


SUMMARY = [{"type": "summary_text", "text": text} for text in ("Let me think.", "So.")]
THOUGHT, THOUGHT_DONE = item(0, type="reasoning", encrypted_content="c2VjcmV0", summary=SUMMARY)
CALL_1, CALL_1_DONE = item(1, type="function_call", call_id="call_1", name="f", arguments='{"a":1}')
CALL_2, CALL_2_DONE = item(2, type="function_call", call_id="call_2", name="g", arguments='{"b":2}')
WORDS = [{"type": "output_text", "text": "Once upon \U0001f98a a time"}]
MESSAGE, MESSAGE_DONE = item(3, type="message", content=WORDS)


SCRIPT: Script = [
    *begun(), HOLD,
    THOUGHT,
    delta("reasoning_summary_text", "Let me ", 0, summary_index=0), HOLD,
    delta("reasoning_summary_text", "think.", 0, summary_index=0),
    delta("reasoning_summary_text", "So.", 0, summary_index=1),
    THOUGHT_DONE,
    {**CALL_1, "item": {**CALL_1["item"], "arguments": ""}},
    delta("function_call_arguments", '{"a":', 1),
    {**CALL_2, "item": {**CALL_2["item"], "arguments": ""}},
    delta("function_call_arguments", '{"b"', 2), HOLD,
    delta("function_call_arguments", "1}", 1),
    delta("function_call_arguments", ":2}", 2),
    CALL_1_DONE,
    CALL_2_DONE,
    MESSAGE,
    *text("Once ", "upon \ud83e"), HOLD, *text("\udd8a a ", "time"),
    MESSAGE_DONE,
    ended(),
]  # fmt: skip
"""Thoughts, two tool calls side by side, and text; its making stands still before and in the middle of each."""
TOKENS = 11


def said() -> list[ContentEvent]:
    """All parts of the answer."""
    state = ResponseState(Upstream("x"), Blocks([]))
    items = [item for step in SCRIPT if not isinstance(step, str) for item in events_from_response(step, state)]
    return [item for item in items if isinstance(item, CONTENT_TYPES)]
