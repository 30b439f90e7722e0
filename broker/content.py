"""The answer that a log holds, block by block and in order: a pure fold over its events."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from broker.events import (
    Cancelled,
    Completed,
    Event,
    Failed,
    ReasoningDelta,
    RefusalDelta,
    Started,
    Terminal,
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
)

BlockKind: TypeAlias = Literal["text", "reasoning", "refusal", "tool_call"]


class Block(msgspec.Struct, frozen=True):
    """A run of one kind: prose in ``text``, or a tool call, whose ``text`` is the JSON of its arguments so far."""

    kind: BlockKind
    text: str = ""
    signature: str | None = None
    opaque: str | None = None
    """Reasoning that only its provider can read; such a block has no text."""
    call_id: str = ""
    name: str = ""
    whole: bool = False
    """Of a tool call: its arguments are complete."""


class _Open:
    """A block that may still grow."""

    __slots__ = ("block", "call_id", "kind", "name", "opaque", "parts", "signature", "whole")

    def __init__(self, kind: BlockKind, block: int, call_id: str = "", name: str = "") -> None:
        self.kind: BlockKind = kind
        self.block = block
        self.call_id = call_id
        self.name = name
        self.parts: list[str] = []
        self.signature: str | None = None
        self.opaque: str | None = None
        self.whole = False

    def closed(self) -> Block:
        """As it stands."""
        text = "".join(self.parts)
        return Block(self.kind, text, self.signature, self.opaque, self.call_id, self.name, self.whole)


class ContentFold:
    """Feed it every event in order. A ``restart`` voids what came before.

    Prose of one kind and block, unbroken by other prose or the start of a tool call, is one block; a signature closes
    its block of reasoning, and each opaque piece is one of its own. Tool calls grow side by side.
    """

    def __init__(self) -> None:
        self.provider = ""
        """Who gives the attempt that stands."""
        self.attempt = 0
        """Which attempt began it, though later ones may have gone on with it; 0 = nobody has begun."""
        self.terminal: Terminal | None = None
        """How it ended; None = it has not."""
        self._open: list[_Open] = []
        self._prose: _Open | None = None
        self._calls: dict[str, _Open] = {}

    def apply(self, event: Event) -> None:
        """Take the next event."""
        match event:
            case TextDelta():
                self._say("text", event.block, event.text)
            case RefusalDelta():
                self._say("refusal", event.block, event.text)
            case ReasoningDelta():
                self._think(event)
            case ToolCallStarted():
                self._prose = None
                self._calls[event.call_id] = self._add(_Open("tool_call", event.block, event.call_id, event.name))
            case ToolCallDelta():
                self._calls[event.call_id].parts.append(event.arguments)
            case ToolCallCompleted():
                call = self._calls[event.call_id]
                call.parts, call.whole = [event.arguments], True
            case Started():
                self.provider = event.provider
                if event.mode == "restart":
                    self.attempt = event.attempt
                    self._open, self._prose, self._calls = [], None, {}
            case Completed() | Failed() | Cancelled():
                self.terminal = event
            case _:
                pass

    def blocks(self) -> list[Block]:
        """The answer so far, in the order in which its blocks began."""
        return [one.closed() for one in self._open]

    def _say(self, kind: BlockKind, block: int, text: str) -> _Open:
        prose = self._prose
        if prose is None or prose.kind != kind or prose.block != block:
            prose = self._prose = self._add(_Open(kind, block))
        prose.parts.append(text)
        return prose

    def _think(self, event: ReasoningDelta) -> None:
        if event.opaque is not None:
            self._prose = None
            self._add(_Open("reasoning", event.block)).opaque = event.opaque
            return
        prose = self._say("reasoning", event.block, event.text)
        if event.signature is not None:
            prose.signature = event.signature
            self._prose = None

    def _add(self, one: _Open) -> _Open:
        self._open.append(one)
        return one
