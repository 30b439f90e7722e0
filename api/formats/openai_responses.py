"""The stream of OpenAI's Responses API: contract section 5, wires.md "OpenAI Responses".

Every frame has a ``sequence_number``. It counts all frames that the log makes, also those of attempts that have become
void since, so that a number never comes twice, whoever reads and whatever was left out for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import msgspec

from api.formats.base import Rope, rope_text
from api.formats.response_frames import Frames, Item, block_of, frame, new_item
from api.formats.response_items import ItemStatus, item_id, status_at_end
from api.formats.response_resource import is_background, resource_of_items, why_incomplete
from api.sse import HEARTBEAT
from broker.content import Block, BlockKind
from broker.events import (
    Cancelled,
    Completed,
    Created,
    Entry,
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
from broker.record import Status
from broker.submission import Submission

_VOID = {
    "code": "restarted",
    "message": "the answer was begun again from its start: what was sent of it so far is void",
    "param": None,
}


class Call(NamedTuple):
    """A tool call whose arguments are not whole yet."""

    item: Item
    arguments: Rope | None = None


class Answer(msgspec.Struct, frozen=True):
    """What a delta of an open item leaves as it is."""

    begun: bool = False
    """``response.in_progress`` has been said."""
    provider: str = ""
    attempt: int = 0
    """Which attempt began the answer that stands."""
    output: tuple[dict[str, Any] | None, ...] = ()
    """The items of the attempt that stands; None = not finished."""


class State(NamedTuple):
    """Where a fold stands."""

    sequence: int = 0
    """The number of the next frame."""
    text: Rope | None = None
    """What the open prose has said; None of reasoning that has said nothing."""
    prose: Item | None = None
    calls: tuple[Call, ...] = ()
    """The open calls, in the order of their items."""
    answer: Answer = Answer()


class ResponsesFold:
    """One log as its readers through ``/v1/responses`` see it."""

    name: ClassVar[str] = "openai.responses"
    media_type: ClassVar[str] = "text/event-stream"
    heartbeat: ClassVar[bytes] = HEARTBEAT
    headers: ClassVar[Sequence[tuple[bytes, bytes]]] = ()
    says_restart: ClassVar[bool] = False
    merges: ClassVar[bool] = False

    def __init__(self, submission: Submission) -> None:
        self._submission = submission

    def start(self) -> State:
        """Before the first entry."""
        return State()

    def step(self, state: State, entry: Entry) -> tuple[State, list[bytes]]:
        """The state behind an entry, and its frames."""
        event = entry.event
        sequence, text, prose, calls, answer = state
        if type(event) is TextDelta and prose is not None and prose.block == event.block and prose.kind == "text":
            # Nearly all of them.
            after = State(sequence + 1, Rope(text, event.text), prose, calls, answer)
            return after, [prose.delta(sequence, event.text)]
        draft = _Draft(self._submission, state)
        draft.take(event)
        return draft.state(), draft.frames.made

    def void(self, state: State) -> list[bytes]:
        """The error event in both shapes: openai-python raises for the nested one, and its model is the flat one."""
        return [frame("error", state.sequence, {**_VOID, "error": {"type": "server_error", **_VOID}})]


class _Draft:
    """One step: a state taken apart, changed, and put together again."""

    def __init__(self, submission: Submission, state: State) -> None:
        self._submission = submission
        self._text = state.text
        self._prose = state.prose
        self._calls = state.calls
        self._answer = state.answer
        self.frames = Frames(state.sequence)

    def state(self) -> State:
        """The state behind what was taken."""
        return State(self.frames.sequence, self._text, self._prose, self._calls, self._answer)

    def take(self, event: Event) -> None:
        """Take the entry's event."""
        match event:
            case TextDelta():
                self._say("text", event.block, event.text)
            case RefusalDelta():
                self._say("refusal", event.block, event.text)
            case ReasoningDelta():
                self._think(event)
            case ToolCallStarted() | ToolCallDelta() | ToolCallCompleted():
                self._call(event)
            case Created():
                self._create()
            case Started():
                self._start(event)
            case Completed() | Failed() | Cancelled():
                self._end(event)
            case _:
                pass

    # -- the life of the response

    def _create(self) -> None:
        self._tell("response.created", status="queued")
        if is_background(self._submission):
            self._tell("response.queued", status="queued")

    def _start(self, event: Started) -> None:
        if not self._answer.begun:
            self._tell("response.in_progress")
        self._change(begun=True, provider=event.provider)
        if event.mode == "restart":
            # Whoever holds void content is told so by a frame of his own, which has a number of its own.
            self.frames.sequence += bool(self._answer.output)
            self._text = self._prose = None
            self._calls = ()
            self._change(attempt=event.attempt, output=())

    def _end(self, event: Terminal) -> None:
        for call in self._calls:
            self._close_call(call, block_of(call.item, call.arguments), status_at_end("tool_call", event))
        # The start of a call closes what prose is open, so prose that is open now is the last item.
        self._close_prose(status_at_end("text", event))
        self._tell(_end_of(event, self._output()), terminal=event)

    def _tell(self, kind: str, *, status: Status = "running", terminal: Terminal | None = None) -> None:
        resource = resource_of_items(
            self._submission, self._output(), provider=self._answer.provider, status=status, terminal=terminal
        )
        self.frames.add(kind, {"response": resource})

    def _output(self) -> list[dict[str, Any]]:
        return [item for item in self._answer.output if item is not None]

    # -- its items

    def _say(self, kind: BlockKind, block: int, piece: str) -> None:
        prose = self._prose
        if prose is None or prose.kind != kind or prose.block != block:
            self._close_prose("completed")
            prose = self._prose = self._begin(kind, block)
        if kind == "reasoning" and self._text is None:
            if not piece:
                return
            self.frames.begin_summary(prose)
        self._text = Rope(self._text, piece)
        self.frames.delta(prose, piece)

    def _think(self, event: ReasoningDelta) -> None:
        if event.opaque is not None:
            self._close_prose("completed")
            self._finish(self._begin("reasoning", event.block), Block("reasoning", opaque=event.opaque), "completed")
            return
        self._say("reasoning", event.block, event.text)
        if event.signature is not None:
            self._close_prose("completed", signature=event.signature)

    def _call(self, event: ToolCallStarted | ToolCallDelta | ToolCallCompleted) -> None:
        if isinstance(event, ToolCallStarted):
            self._close_prose("completed")
            item = self._begin("tool_call", event.block, call=(event.call_id, event.name))
            self._calls = (*self._calls, Call(item))
            return
        call = next(call for call in reversed(self._calls) if call.item.call_id == event.call_id)
        if isinstance(event, ToolCallDelta):
            self.frames.delta(call.item, event.arguments)
            grown = Call(call.item, Rope(call.arguments, event.arguments))
            self._calls = tuple([grown if one is call else one for one in self._calls])
        else:
            self._conclude(call, event.arguments)

    def _conclude(self, call: Call, arguments: str) -> None:
        said = rope_text(call.arguments)
        if arguments.startswith(said) and arguments != said:
            # A provider may give the whole at once; clients that add up deltas must not be left with less.
            self.frames.delta(call.item, arguments[len(said) :])
        whole = Block("tool_call", arguments, call_id=call.item.call_id, name=call.item.name, whole=True)
        self._close_call(call, whole, "completed")

    def _begin(self, kind: BlockKind, block: int, *, call: tuple[str, str] = ("", "")) -> Item:
        index = len(self._answer.output)
        name = item_id(kind, self._submission, self._answer.attempt, index)
        item = new_item(kind, block, index, name, call=call)
        self._change(output=(*self._answer.output, None))
        self.frames.begin(item)
        return item

    def _close_prose(self, status: ItemStatus, *, signature: str | None = None) -> None:
        if self._prose is not None:
            self._finish(self._prose, block_of(self._prose, self._text, signature=signature), status)
        self._text = self._prose = None

    def _close_call(self, call: Call, block: Block, status: ItemStatus) -> None:
        self._finish(call.item, block, status)
        self._calls = tuple([one for one in self._calls if one is not call])

    def _finish(self, item: Item, block: Block, status: ItemStatus) -> None:
        done = self.frames.end(item, block, self._answer.provider, status)
        output = self._answer.output
        self._change(output=(*output[: item.index], done, *output[item.index + 1 :]))

    def _change(self, **changes: Any) -> None:
        self._answer = msgspec.structs.replace(self._answer, **changes)


def _end_of(event: Terminal, output: Sequence[dict[str, Any]]) -> str:
    match event:
        case Completed():
            return "response.incomplete" if why_incomplete(event, output) else "response.completed"
        case Failed():
            return "response.failed"
        case Cancelled():
            # The API knows no event of that name: the resource says it (wires.md, the table of ends).
            return "response.incomplete"
