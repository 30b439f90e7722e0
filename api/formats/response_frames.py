"""The frames of OpenAI's Responses stream, numbered one after the other: pure."""

from __future__ import annotations

from typing import Any

import msgspec

from api.formats.base import Rope, rope_text
from api.formats.response_items import ItemStatus, output_item
from broker.content import Block, BlockKind

_json = msgspec.json.Encoder()
_DELTA: dict[BlockKind, str] = {
    "text": "response.output_text.delta",
    "refusal": "response.refusal.delta",
    "reasoning": "response.reasoning_summary_text.delta",
    "tool_call": "response.function_call_arguments.delta",
}
_PART = {"text": "content_index", "refusal": "content_index", "reasoning": "summary_index"}


def frame(kind: str, sequence: int, fields: dict[str, Any]) -> bytes:
    """One event; its name is its type (R3, and SDKs drop what has none)."""
    body = _json.encode({"type": kind, "sequence_number": sequence, **fields})
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), body)


class Item(msgspec.Struct, frozen=True):
    """An output item that may still grow, with what all frames of its deltas have in common."""

    kind: BlockKind
    block: int
    index: int
    id: str
    head: bytes
    middle: bytes
    tail: bytes
    call_id: str = ""
    name: str = ""

    def delta(self, sequence: int, piece: str) -> bytes:
        """The frame of a piece."""
        return b"%b%d%b%b%b" % (self.head, sequence, self.middle, _json.encode(piece), self.tail)


def new_item(kind: BlockKind, block: int, index: int, name: str, *, call: tuple[str, str] = ("", "")) -> Item:
    """The item of the id ``name``; ``call``: id and function of a tool call."""
    at: dict[str, Any] = {"item_id": name, "output_index": index}
    if kind in _PART:
        at[_PART[kind]] = 0
    kind_of_frame = _DELTA[kind].encode()
    head = b'event: %b\ndata: {"type":"%b","sequence_number":' % (kind_of_frame, kind_of_frame)
    middle = b',%b,"delta":' % _json.encode(at)[1:-1]
    tail = b',"logprobs":[]}\n\n' if kind == "text" else b"}\n\n"
    return Item(kind, block, index, name, head, middle, tail, *call)


class Frames:
    """Collects the frames of one entry."""

    def __init__(self, sequence: int) -> None:
        self.sequence = sequence
        """The number of the next frame."""
        self.made: list[bytes] = []

    def add(self, kind: str, fields: dict[str, Any]) -> None:
        """One more frame."""
        self.made.append(frame(kind, self.sequence, fields))
        self.sequence += 1

    def begin(self, item: Item) -> None:
        """The item is there. The summary of reasoning begins with its first character: there may be none."""
        added = output_item(Block(item.kind, call_id=item.call_id, name=item.name), item.id, "", "in_progress")
        parts: list[dict[str, Any]] = added.get("content", [])
        if parts:
            added["content"] = []
        self.add("response.output_item.added", {"output_index": item.index, "item": added})
        for part in parts:
            self.add("response.content_part.added", {**_at(item), "part": part})

    def begin_summary(self, item: Item) -> None:
        """Reasoning begins to say something."""
        self.add("response.reasoning_summary_part.added", {**_at(item), "part": {"type": "summary_text", "text": ""}})

    def delta(self, item: Item, piece: str) -> None:
        """The item grows."""
        self.made.append(item.delta(self.sequence, piece))
        self.sequence += 1

    def end(self, item: Item, block: Block, provider: str, status: ItemStatus) -> dict[str, Any]:
        """The item is what ``block`` says and grows no more; returns it as it stands in the resource."""
        done = output_item(block, item.id, provider, status)
        match item.kind:
            case "text":
                self.add("response.output_text.done", {**_at(item), "text": block.text, "logprobs": []})
                self.add("response.content_part.done", {**_at(item), "part": done["content"][0]})
            case "refusal":
                self.add("response.refusal.done", {**_at(item), "refusal": block.text})
                self.add("response.content_part.done", {**_at(item), "part": done["content"][0]})
            case "reasoning":
                if block.text:
                    self.add("response.reasoning_summary_text.done", {**_at(item), "text": block.text})
                    self.add("response.reasoning_summary_part.done", {**_at(item), "part": done["summary"][0]})
            case "tool_call":
                # Whoever reads this event may act on it: a call that broke off has none.
                if block.whole:
                    fields = {**_at(item), "name": block.name, "arguments": block.text}
                    self.add("response.function_call_arguments.done", fields)
        self.add("response.output_item.done", {"output_index": item.index, "item": done})
        return done


def _at(item: Item) -> dict[str, Any]:
    at: dict[str, Any] = {"item_id": item.id, "output_index": item.index}
    if item.kind in _PART:
        at[_PART[item.kind]] = 0
    return at


def block_of(item: Item, text: Rope | None, *, signature: str | None = None, opaque: str | None = None) -> Block:
    """What an item has come to, of prose or of a call that is not whole."""
    return Block(item.kind, rope_text(text), signature, opaque, item.call_id, item.name)
