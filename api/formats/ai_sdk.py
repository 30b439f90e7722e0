"""The Vercel AI SDK's UI message stream v1, as useChat reads it. Contract section 5.

One generation is one step of one assistant message. A client builds the message from numbered parts and dies of a
piece for a part that it does not know as open, so parts are numbered over the whole log, void attempts included.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import msgspec

from api.formats.ai_sdk_chunks import (
    DONE,
    FINISH_REASONS,
    chunk,
    end_metadata,
    provider_metadata,
    tool_input,
)
from api.formats.base import Rope, rope_text
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
    Terminal,
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
)
from broker.submission import Submission

_json = msgspec.json.Encoder().encode

ProseKind: TypeAlias = Literal["text", "reasoning", "refusal"]
Frames: TypeAlias = list[bytes]


class _Prose(NamedTuple):
    """The part that the next delta of this kind and block goes on with."""

    kind: ProseKind
    block: int
    id: str
    head: bytes
    """The frame of a delta, up to its text."""


class _Call(NamedTuple):
    """A tool call whose arguments are not complete."""

    name: str
    head: bytes
    said: Rope | None = None


class _State(msgspec.Struct, frozen=True):
    stepping: bool = False
    """``start-step`` has been said."""
    provider: str = ""
    parts: int = 0
    """How many parts of prose there have been, void ones included."""
    prose: _Prose | None = None
    calls: dict[str, _Call] = {}


_replace = msgspec.structs.replace


class AiSdkFold:
    """One generation, as chunks of one assistant message."""

    name: ClassVar[str] = "ai-sdk"
    media_type: ClassVar[str] = "text/event-stream"
    heartbeat: ClassVar[bytes] = HEARTBEAT
    says_restart: ClassVar[bool] = True
    merges: ClassVar[bool] = False
    """A client resumes by the number of chunks it has."""
    headers: ClassVar[Sequence[tuple[bytes, bytes]]] = ((b"x-vercel-ai-ui-message-stream", b"v1"),)

    def __init__(self, submission: Submission) -> None:
        self._generation = submission.id
        self._model = submission.model
        self._created_at = int(submission.created_at * 1000)
        self._message = _message_id(submission)

    def start(self) -> _State:
        """Nothing has been said."""
        return _State()

    def step(self, state: _State, entry: Entry) -> tuple[_State, Frames]:
        """The chunks of one entry."""
        event = entry.event
        prose = state.prose
        if type(event) is TextDelta and prose is not None and prose.kind == "text" and prose.block == event.block:
            # Nearly all of them.
            return state, [prose.head + _json(event.text) + b"}\n\n"]
        frames: Frames = []
        return self._step(state, event, frames), frames

    def void(self, state: _State) -> Frames:
        """Nothing: ``reset-step`` says it, and the stream goes on."""
        del state
        return []

    def _step(self, state: _State, event: Event, frames: Frames) -> _State:
        match event:
            case TextDelta() | RefusalDelta() | ReasoningDelta():
                return _say(state, event, frames)
            case ToolCallStarted() | ToolCallDelta() | ToolCallCompleted():
                return _call(state, event, frames)
            case Created():
                frames.append(self._opening())
            case Started():
                return _begin(state, event, frames)
            case Completed() | Failed() | Cancelled():
                return _end(state, event, frames)
            case _:
                pass
        return state

    def _opening(self) -> bytes:
        metadata = {"generationId": self._generation, "model": self._model, "createdAt": self._created_at}
        return chunk("start", messageId=self._message, messageMetadata=metadata)


def chunks_in(frames: Frames) -> int:
    """How many of these frames a client counts as chunks: all but the end mark."""
    return len(frames) - (DONE in frames)


def _message_id(submission: Submission) -> str:
    """The message that the answer belongs to: one that is gone on with keeps its id, or a client shows it twice."""
    wire = submission.wire
    message = wire.echo.get("message") if wire is not None and wire.dialect == "ai-sdk" else None
    return message if isinstance(message, str) and message else submission.id_as("msg_")


def _begin(state: _State, event: Started, frames: Frames) -> _State:
    if not state.stepping:
        frames.append(chunk("start-step"))
        return _replace(state, stepping=True, provider=event.provider)
    if event.mode == "continue":
        return _replace(state, provider=event.provider)
    frames.append(chunk("reset-step"))
    return _State(stepping=True, provider=event.provider, parts=state.parts)


# -- prose ------------------------------------------------------------------------------------------------------------


def _say(state: _State, event: TextDelta | RefusalDelta | ReasoningDelta, frames: Frames) -> _State:
    if isinstance(event, ReasoningDelta):
        return _think(state, event, frames)
    state, prose = _prose(state, "text" if isinstance(event, TextDelta) else "refusal", event.block, frames)
    frames.append(prose.head + _json(event.text) + b"}\n\n")
    return state


def _think(state: _State, event: ReasoningDelta, frames: Frames) -> _State:
    if event.opaque is not None:
        state = _close(state, frames)
        part = f"r{state.parts + 1}"
        metadata = provider_metadata(state.provider, "opaque", event.opaque)
        frames.append(chunk("reasoning-start", id=part, providerMetadata=metadata))
        frames.append(chunk("reasoning-end", id=part))
        return _replace(state, parts=state.parts + 1)
    state, prose = _prose(state, "reasoning", event.block, frames)
    if event.text or event.signature is None:
        frames.append(prose.head + _json(event.text) + b"}\n\n")
    if event.signature is None:
        return state
    metadata = provider_metadata(state.provider, "signature", event.signature)
    frames.append(chunk("reasoning-end", id=prose.id, providerMetadata=metadata))
    return _replace(state, prose=None)


def _prose(state: _State, kind: ProseKind, block: int, frames: Frames) -> tuple[_State, _Prose]:
    """The part to go on with, or a new one."""
    prose = state.prose
    if prose is not None and prose.kind == kind and prose.block == block:
        return state, prose
    state = _close(state, frames)
    thinks = kind == "reasoning"
    part = f"{'r' if thinks else 't'}{state.parts + 1}"
    frames.append(chunk("reasoning-start" if thinks else "text-start", id=part))
    name = b"reasoning-delta" if thinks else b"text-delta"
    prose = _Prose(kind, block, part, b'data: {"type":"%b","id":"%b","delta":' % (name, part.encode()))
    return _replace(state, parts=state.parts + 1, prose=prose), prose


def _close(state: _State, frames: Frames) -> _State:
    prose = state.prose
    if prose is None:
        return state
    frames.append(chunk("reasoning-end" if prose.kind == "reasoning" else "text-end", id=prose.id))
    return _replace(state, prose=None)


# -- tool calls -------------------------------------------------------------------------------------------------------


def _call(state: _State, event: ToolCallStarted | ToolCallDelta | ToolCallCompleted, frames: Frames) -> _State:
    calls, call_id = state.calls, event.call_id
    match event:
        case ToolCallStarted(name=name):
            state = _close(state, frames)
            frames.append(chunk("tool-input-start", toolCallId=call_id, toolName=name))
            head = b'data: {"type":"tool-input-delta","toolCallId":%s,"inputTextDelta":' % _json(call_id)
            return _replace(state, calls={**calls, call_id: _Call(name, head)})
        case ToolCallDelta(arguments=piece):
            name, head, said = calls[call_id]
            frames.append(head + _json(piece) + b"}\n\n")
            return _replace(state, calls={**calls, call_id: _Call(name, head, Rope(said, piece))})
        case ToolCallCompleted():
            frames.append(tool_input(call_id, event.name, event.arguments))
            return _replace(state, calls={other: call for other, call in calls.items() if other != call_id})


# -- ends -------------------------------------------------------------------------------------------------------------


def _end(state: _State, event: Terminal, frames: Frames) -> _State:
    _close(state, frames)
    for call_id, call in state.calls.items():
        # Its text is no JSON: the client's part must not look as if it still came.
        lost: dict[str, Any] = {"input": rope_text(call.said), "errorText": "The tool call was not completed."}
        frames.append(chunk("tool-input-error", toolCallId=call_id, toolName=call.name, **lost))
    metadata = end_metadata(event)
    finish: dict[str, Any] = {"messageMetadata": metadata} if metadata else {}
    if isinstance(event, Failed):
        # useChat reads nothing behind an error, so what is known of the end stands before it.
        frames.append(chunk("message-metadata", messageMetadata=metadata))
        frames.append(chunk("error", errorText=event.error.message or event.error.code))
        reason, finish = "error", {}
    elif isinstance(event, Cancelled):
        frames.append(chunk("abort", reason=event.reason))
        # "interrupted" would say it better, but WorkflowChatTransport's own copy of the schema does not know it.
        reason = "other"
    else:
        reason = FINISH_REASONS[event.finish_reason]
    if state.stepping:
        frames.append(chunk("finish-step"))
    frames += [chunk("finish", finishReason=reason, **finish), DONE]
    return _State(stepping=state.stepping, provider=state.provider, parts=state.parts)
