"""Blocks of an answer as output items of OpenAI's Responses API: pure."""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple, TypeAlias

from broker.content import Block, BlockKind
from broker.dialects.sealed import seal
from broker.events import Completed, Terminal
from broker.submission import Submission

HOME = "openai-responses"
"""The provider whose encrypted reasoning this wire carries as it is."""
ItemStatus: TypeAlias = Literal["in_progress", "completed", "incomplete"]

_PREFIX: dict[BlockKind, str] = {"text": "msg", "refusal": "msg", "reasoning": "rs", "tool_call": "fc"}
_ID = re.compile(r"(?:msg|rs|fc)_(?P<rest>[0-9A-Za-z]{1,64})_(?P<attempt>[0-9]{1,9})_(?P<index>[0-9]{1,9})", re.ASCII)


def item_id(kind: BlockKind, submission: Submission, attempt: int, index: int) -> str:
    """The id of the output item at an index, of the answer that this attempt began: the same wherever it is asked."""
    return submission.id_as(f"{_PREFIX[kind]}_") + f"_{attempt}_{index}"


def output_item(block: Block, name: str, provider: str, status: ItemStatus) -> dict[str, Any]:
    """A block as the output item of the id ``name``; ``provider`` gave it."""
    match block.kind:
        case "text" | "refusal":
            content = [message_part(block.kind, block.text)]
            return {"id": name, "type": "message", "status": status, "role": "assistant", "content": content}
        case "reasoning":
            summary = [{"type": "summary_text", "text": block.text}] if block.text else []
            return {"id": name, "type": "reasoning", "summary": summary, **_encrypted(block, provider)}
        case "tool_call":
            call = {"call_id": block.call_id, "name": block.name, "arguments": block.text}
            return {"id": name, "type": "function_call", "status": status, **call}


def message_part(kind: Literal["text", "refusal"], text: str) -> dict[str, Any]:
    """The one content part of a message."""
    if kind == "refusal":
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _encrypted(block: Block, provider: str) -> dict[str, str]:
    if block.opaque is not None:
        return {"encrypted_content": seal(provider, "opaque", block.opaque, home=HOME)}
    if block.signature is not None:
        return {"encrypted_content": seal(provider, "signature", block.signature, home=HOME)}
    return {}


def status_at_end(kind: BlockKind, terminal: Terminal) -> ItemStatus:
    """The status of an item that was open when the generation ended."""
    return "completed" if isinstance(terminal, Completed) and kind != "tool_call" else "incomplete"


def item_status(block: Block, terminal: Terminal | None, *, last: bool) -> ItemStatus:
    """The status of an item as it stands; ``last`` = no other item begins after it."""
    # What is behind prose has closed it (broker.content); an item of reasoning has no status.
    if block.whole if block.kind == "tool_call" else not last:
        return "completed"
    return "in_progress" if terminal is None else status_at_end(block.kind, terminal)


class ItemPlace(NamedTuple):
    """Where an output item stands: in the answer that this attempt began, of this generation."""

    generation: str
    attempt: int
    output_index: int


def place_of_item(name: str) -> ItemPlace | None:
    """The inverse of :func:`item_id`, for what a client says; None = no id of ours."""
    match = _ID.fullmatch(name)
    return ItemPlace(f"gen_{match['rest']}", int(match["attempt"]), int(match["index"])) if match else None
