"""Anthropic's Messages stream: content blocks that begin, grow and end. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import msgspec

from api.formats.anthropic_answer import error_body, error_dict, message_dict, sealed, stop_dict, usage_dict
from api.formats.base import Rope, rope_text
from api.formats.calls import NO_CALLS, Call, Calls, unsaid, with_call
from api.sse import HEARTBEAT
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
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
)
from broker.submission import Submission

_encode = msgspec.json.Encoder().encode
_read = msgspec.json.Decoder(msgspec.Raw)
"""Tells whether something is JSON and makes nothing of it: numbers may be of any size."""
_END = b"}}\n\n"


class MessageState(NamedTuple):
    """What the frames to come depend on."""

    provider: str = ""
    began: int = 0
    """How many content blocks have begun: the next one's index."""
    prose: tuple[type[Event], int] | None = None
    """Kind and block of the prose that may still grow; it is the content block that began last."""
    head: bytes = b""
    """A frame of the open prose, up to its text."""
    calls: Calls = NO_CALLS


class AnthropicFold:
    """``anthropic``: every content block has its index, in the order in which they begin; each ends before the end.

    A client's helper may take the block that began last for the one that ends. So a call whose arguments are whole is
    ended before the next block begins, though providers may say only at the end that it is; calls that really grow
    side by side stay open side by side.
    """

    name: ClassVar[str] = "anthropic"
    media_type: ClassVar[str] = "text/event-stream"
    heartbeat: ClassVar[bytes] = HEARTBEAT
    headers: ClassVar[Sequence[tuple[bytes, bytes]]] = ()
    says_restart: ClassVar[bool] = False
    merges: ClassVar[bool] = True

    def __init__(self, submission: Submission) -> None:
        self._opening = _frame({"type": "message_start", "message": message_dict(submission)})

    def start(self) -> MessageState:
        """Nothing has been said."""
        return MessageState()

    def step(self, state: MessageState, entry: Entry) -> tuple[MessageState, list[bytes]]:
        """Text first: nearly all of a log, and it changes nothing that has to be remembered."""
        event = entry.event
        if type(event) is TextDelta and state.prose == (TextDelta, event.block):
            return state, [state.head + _encode(event.text) + _END]
        return self._step(state, event)

    def void(self, state: MessageState) -> list[bytes]:
        """The client's own error, so that nobody takes the half answer for a whole one."""
        del state
        return [_frame(error_body("What was sent of this answer is void: it is being generated anew.", "restarted"))]

    def _step(self, state: MessageState, event: Event) -> tuple[MessageState, list[bytes]]:
        frames: list[bytes] = []
        match event:
            case Created():
                frames = [self._opening]
            case Started():
                state = (state if event.mode == "continue" else MessageState())._replace(provider=event.provider)
            case TextDelta() | RefusalDelta():
                state, frames = _prose(state, event, {"type": "text", "text": ""}, b'"text_delta","text":')
                frames.append(state.head + _encode(event.text) + _END)
            case ReasoningDelta():
                state, frames = _think(state, event)
            case ToolCallStarted():
                state, frames = _call(state, event)
            case ToolCallDelta() | ToolCallCompleted():
                state, frames = _grow(state, event)
            case Completed():
                frames = _completed(state, event)
            case Failed() | Cancelled():
                frames = [_frame(error_dict(event))]
            case _:
                pass
        return state, frames


def _frame(body: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (body["type"].encode(), _encode(body))


def _start(index: int, block: dict[str, Any]) -> bytes:
    return _frame({"type": "content_block_start", "index": index, "content_block": block})


def _stop(index: int) -> bytes:
    return _frame({"type": "content_block_stop", "index": index})


def _delta_head(index: int, kind: bytes) -> bytes:
    data = b'data: {"type":"content_block_delta","index":%d,"delta":{"type":' % index
    return b"event: content_block_delta\n" + data + kind


def _begin(state: MessageState, block: dict[str, Any]) -> tuple[MessageState, list[bytes]]:
    """The next content block; prose ends before it, and so does every call that can't go on."""
    frames = [_stop(state.began - 1)] if state.prose else []
    calls = dict(state.calls)
    for call_id, call in state.calls.items():
        if not call.closed and _is_whole(call.arguments):
            calls[call_id] = call._replace(closed=True)
            frames.append(_stop(call.at))
    frames.append(_start(state.began, block))
    return state._replace(began=state.began + 1, prose=None, head=b"", calls=calls), frames


def _is_whole(arguments: Rope | None) -> bool:
    """Whether these fragments are a JSON object: nothing but white space could follow."""
    if arguments is None:
        return False
    text = rope_text(arguments).strip()
    if not (text.startswith("{") and text.endswith("}")):
        return False
    try:
        _read.decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def _prose(
    state: MessageState, event: TextDelta | RefusalDelta | ReasoningDelta, block: dict[str, Any], delta: bytes
) -> tuple[MessageState, list[bytes]]:
    """The open prose, if it is of this kind and block; else a new one."""
    run = (type(event), event.block)
    if state.prose == run:
        return state, []
    state, frames = _begin(state, block)
    return state._replace(prose=run, head=_delta_head(state.began - 1, delta)), frames


def _think(state: MessageState, event: ReasoningDelta) -> tuple[MessageState, list[bytes]]:
    if event.opaque is not None:
        data = sealed(state.provider, "opaque", event.opaque)
        state, frames = _begin(state, {"type": "redacted_thinking", "data": data})
        return state, [*frames, _stop(state.began - 1)]
    block = {"type": "thinking", "thinking": "", "signature": ""}
    state, frames = _prose(state, event, block, b'"thinking_delta","thinking":')
    if event.text or event.signature is None:
        frames.append(state.head + _encode(event.text) + _END)
    if event.signature is None:
        return state, frames
    index, signature = state.began - 1, sealed(state.provider, "signature", event.signature)
    signed = _delta_head(index, b'"signature_delta","signature":') + _encode(signature) + _END
    return state._replace(prose=None, head=b""), [*frames, signed, _stop(index)]


def _call(state: MessageState, event: ToolCallStarted) -> tuple[MessageState, list[bytes]]:
    state, frames = _begin(state, {"type": "tool_use", "id": event.call_id, "name": event.name, "input": {}})
    return state._replace(calls=with_call(state.calls, event.call_id, Call(state.began - 1))), frames


def _grow(state: MessageState, event: ToolCallDelta | ToolCallCompleted) -> tuple[MessageState, list[bytes]]:
    call = state.calls[event.call_id]
    if call.closed:
        return state, []
    whole = isinstance(event, ToolCallCompleted)
    fragment = unsaid(call, event.arguments) if whole else event.arguments
    frames = [] if whole and not fragment else [_fragment(call.at, fragment)]
    if whole:
        frames.append(_stop(call.at))
    calls = with_call(state.calls, event.call_id, Call(call.at, Rope(call.arguments, fragment), whole))
    return MessageState(state.provider, state.began, state.prose, state.head, calls), frames


def _fragment(index: int, arguments: str) -> bytes:
    return _delta_head(index, b'"input_json_delta","partial_json":') + _encode(arguments) + _END


def _completed(state: MessageState, event: Completed) -> list[bytes]:
    """What is still open ends too: prose, and calls that broke off."""
    open_blocks = [call.at for call in state.calls.values() if not call.closed]
    if state.prose:
        open_blocks.append(state.began - 1)
    delta = {
        "type": "message_delta",
        "delta": stop_dict(event, state.provider),
        "usage": usage_dict(event.usage, state.provider),
    }
    return [*map(_stop, open_blocks), _frame(delta), _frame({"type": "message_stop"})]
