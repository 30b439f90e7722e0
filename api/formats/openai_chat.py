"""OpenAI's Chat Completions stream: one ``chat.completion.chunk`` for each thing that the model says. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import msgspec

from api.formats.base import Rope
from api.formats.calls import NO_CALLS, Call, Calls, unsaid, with_call
from api.formats.openai_chat_answer import error_body, error_dict, finish_reason, usage_dict
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
_DONE = b"data: [DONE]\n\n"


class ChatState(NamedTuple):
    """What the frames to come depend on."""

    provider: str = ""
    refused: bool = False
    """Words of refusal have been said."""
    calls: Calls = NO_CALLS
    began: int = 0
    """How many tool calls there have been: the next one's index."""


class ChatFold:
    """``openai.chat``: an opening chunk with the role, one for each piece, the finish reason, the usage, ``[DONE]``."""

    name: ClassVar[str] = "openai.chat"
    media_type: ClassVar[str] = "text/event-stream"
    heartbeat: ClassVar[bytes] = HEARTBEAT
    headers: ClassVar[Sequence[tuple[bytes, bytes]]] = ()
    says_restart: ClassVar[bool] = False
    merges: ClassVar[bool] = True

    def __init__(self, submission: Submission) -> None:
        wire = submission.wire
        asked = wire is not None and wire.dialect == "openai.chat"
        self._says_usage = wire.echo.get("include_usage") is True if wire is not None and asked else True
        head: dict[str, Any] = {
            "id": submission.id_as("chatcmpl-"),
            "object": "chat.completion.chunk",
            "created": int(submission.created_at),
            "model": submission.model,
        }
        self._head = b"data: " + _encode(head)[:-1]
        self._delta = self._head + b',"choices":[{"index":0,"delta":{'
        self._end = b"}]" + (b',"usage":null' if self._says_usage else b"") + b"}\n\n"
        self._tail = b'},"finish_reason":null' + self._end
        self._content = self._delta + b'"content":'

    def start(self) -> ChatState:
        """Nothing has been said."""
        return ChatState()

    def step(self, state: ChatState, entry: Entry) -> tuple[ChatState, list[bytes]]:
        """Text first: nearly all of a log, and it changes nothing that has to be remembered."""
        event = entry.event
        if type(event) is TextDelta:
            return state, [self._content + _encode(event.text) + self._tail]
        return self._step(state, event)

    def void(self, state: ChatState) -> list[bytes]:
        """The client's own error, so that nobody takes the half answer for a whole one."""
        del state
        return [_data(error_body("What was sent of this answer is void: it is being generated anew.", "restarted"))]

    def _step(self, state: ChatState, event: Event) -> tuple[ChatState, list[bytes]]:
        frames: list[bytes] = []
        match event:
            case Created():
                frames = [self._delta + b'"role":"assistant","content":""' + self._tail]
            case Started():
                state = (state if event.mode == "continue" else ChatState())._replace(provider=event.provider)
            case ReasoningDelta():
                # This wire has no field for a signature or for what only its provider can read.
                if event.opaque is None and (event.text or event.signature is None):
                    frames = [self._piece(b'"reasoning_content":', event.text)]
            case RefusalDelta():
                state = state if state.refused or not event.text else state._replace(refused=True)
                frames = [self._piece(b'"refusal":', event.text)]
            case ToolCallStarted() | ToolCallDelta() | ToolCallCompleted():
                state, frames = self._call(state, event)
            case Completed():
                frames = self._completed(state, event)
            case Failed() | Cancelled():
                frames = [_data(error_dict(event)), _DONE]
            case _:
                pass
        return state, frames

    def _piece(self, field: bytes, text: str) -> bytes:
        return self._delta + field + _encode(text) + self._tail

    def _call(
        self, state: ChatState, event: ToolCallStarted | ToolCallDelta | ToolCallCompleted
    ) -> tuple[ChatState, list[bytes]]:
        if isinstance(event, ToolCallStarted):
            function = {"name": event.name, "arguments": ""}
            call = {"index": state.began, "id": event.call_id, "type": "function", "function": function}
            calls = with_call(state.calls, event.call_id, Call(state.began))
            return state._replace(calls=calls, began=state.began + 1), [self._calls(_encode([call]))]
        known = state.calls[event.call_id]
        if isinstance(event, ToolCallDelta):
            longer = Call(known.at, Rope(known.arguments, event.arguments))
            calls = with_call(state.calls, event.call_id, longer)
            fragment = self._fragment(known.at, event.arguments)
            return ChatState(state.provider, state.refused, calls, state.began), [fragment]
        rest = unsaid(known, event.arguments)
        return state, [self._fragment(known.at, rest)] if rest else []

    def _fragment(self, index: int, arguments: str) -> bytes:
        return self._calls(b'[{"index":%d,"function":{"arguments":%b}}]' % (index, _encode(arguments)))

    def _calls(self, calls: bytes) -> bytes:
        return self._delta + b'"tool_calls":' + calls + self._tail

    def _completed(self, state: ChatState, event: Completed) -> list[bytes]:
        reason = _encode(finish_reason(event, refused=state.refused))
        frames = [self._delta + b'},"finish_reason":' + reason + self._end]
        if self._says_usage and event.usage is not None:
            usage = _encode(usage_dict(event.usage, state.provider))
            frames.append(self._head + b',"choices":[],"usage":' + usage + b"}\n\n")
        return [*frames, _DONE]


def _data(body: dict[str, Any]) -> bytes:
    return b"data: " + _encode(body) + b"\n\n"
