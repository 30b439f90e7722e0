"""Logs as workers write them, for the formats: whole attempts, interleaved blocks, text that breaks naive readers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from hypothesis import strategies as st

from broker.events import (
    Cancelled,
    Completed,
    Created,
    Entry,
    Event,
    Failed,
    ReasoningDelta,
    RefusalDelta,
    Retrying,
    Started,
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
)
from broker.position import Position
from broker.record import created_record
from broker.values import ErrorInfo, Timing, Usage

EPOCH = 1_700_000_000_000
GENERATION = "gen_" + "1" * 28

wicked = [
    *("", "\n", "\r", "\r\n", "\n\n", "\r\r\n", "\u2028", "\u2029", "\x85", "\x00", "\ufeff", "\x1e", "\x0b", " "),
    *("data: x", "\n\ndata: x\n\n", "\nid: 9-9\n", ": hb\n", '{"id":null}\n', '"', "\\", "\\u2028", "</script>"),
    *("🙂", "e\u0301", "👩\u200d👩\u200d👧", "\U0010ffff", "\uffff", "ß", "混ぜる"),
]
texts = st.sampled_from(wicked) | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
Kind: TypeAlias = Literal["text", "reasoning", "refusal", "call"]
KINDS: tuple[Kind, ...] = ("text", "reasoning", "call", "refusal", "call", "text")
pieces = st.lists(st.tuples(st.integers(0, len(KINDS) - 1), texts, st.integers(0, 3)), max_size=8)
attempts = st.tuples(st.sampled_from(["restart", "restart", "continue"]), st.integers(0, 1), pieces, st.integers(0, 2))
ends = st.sampled_from(["completed", "failed", "cancelled", "erased", None])
ERROR = ErrorInfo("provider_overloaded", "full\n\u2028house", True, 529)


@dataclass
class Attempt:
    """Writes the content of one attempt; blocks are numbered as they first say something."""

    out: list[Event]
    next_block: int = 0
    blocks: dict[int, int] | None = None
    calls: dict[int, str] | None = None
    """The open calls: slot -> what has been said of the arguments."""

    def say(self, slot: int, text: str, act: int) -> None:
        """The next piece of a slot; slots come interleaved."""
        kind = KINDS[slot]
        blocks, calls = self.blocks or {}, self.calls or {}
        self.blocks, self.calls = blocks, calls
        if slot not in blocks:
            blocks[slot], self.next_block = self.next_block, self.next_block + 1
            if kind == "call":
                calls[slot] = '{"a":"'
                self.out += [ToolCallStarted(blocks[slot], f"call {blocks[slot]}", "wéather")]
                self.out += [ToolCallDelta(blocks[slot], f"call {blocks[slot]}", calls[slot])]
        block = blocks[slot]
        if kind == "text":
            self.out.append(TextDelta(block, text))
        elif kind == "refusal":
            self.out.append(RefusalDelta(block, text))
        elif kind == "reasoning":
            signature, opaque = text if act == 1 else None, text if act == 2 else None
            self.out.append(ReasoningDelta(block, "" if opaque else text, signature, opaque))
        else:
            part = json.dumps(text, ensure_ascii=act > 1)[1:-1]
            calls[slot] += part
            self.out.append(ToolCallDelta(block, f"call {block}", part))
            if act == 3:
                self.close(slot)

    def close(self, slot: int) -> None:
        """The call is complete; the slot's next piece begins another one."""
        assert self.calls is not None
        assert self.blocks is not None
        block, arguments = self.blocks.pop(slot), self.calls.pop(slot) + '"}'
        self.out.append(ToolCallDelta(block, f"call {block}", '"}'))
        self.out.append(ToolCallCompleted(block, f"call {block}", "wéather", arguments))

    def close_all(self) -> None:
        """A whole answer has no open call."""
        for slot in list(self.calls or {}):
            self.close(slot)


def _end(end: str) -> Event:
    usage, timing = Usage(3, 7), Timing(1, 2, 3, 4.5)
    match end:
        case "completed":
            return Completed("stop", "end_turn", "\n", usage, timing)
        case "failed":
            return Failed(ERROR, usage, timing)
        case _:
            return Cancelled("deleted" if end == "erased" else "client", usage, timing)


def write(plan: list[tuple[Any, int, Any, int]], end: str | None) -> list[Entry]:
    """The log of these attempts: mode, refusals before the first token, pieces, how far the epoch has come."""
    record = created_record(GENERATION, "demo/demo-1", EPOCH, {"k": "\u2028"}).to_dict()
    log = [Entry(Position(EPOCH, 1), Created(record))]
    epoch = EPOCH
    writer = Attempt([])
    for number, (mode, retries, said, pause) in enumerate(plan, 1):
        goes_on = mode == "continue" and not writer.calls and number > 1
        writer.out = [Started(number, "continue" if goes_on else "restart", "demo", "demo-1")]
        if not goes_on:
            writer = Attempt(writer.out)
        writer.out += [Retrying(number, 0.5, ERROR)] * retries
        for slot, text, act in said:
            writer.say(slot, text, act)
        epoch += pause
        if number == len(plan) and end == "completed":
            writer.close_all()
        log += [Entry(Position(epoch, len(log) + n), event) for n, event in enumerate(writer.out, 1)]
    if end is not None:
        if not plan and end == "completed":
            end = "cancelled"
        # Who cancels what nobody runs ends the log under an epoch of his own.
        log.append(Entry(Position(epoch + (end == "cancelled"), len(log) + 1), _end(end)))
    return log


logs = st.builds(write, st.lists(attempts, max_size=3), ends)
ended_logs = st.builds(write, st.lists(attempts, min_size=1, max_size=3), ends.filter(bool))


def restarts(entry: Entry) -> bool:
    """Whether this entry voids what came before it."""
    return isinstance(entry.event, Started) and entry.event.mode == "restart"
