"""The events of a log, and the two ways they are written: compact in Redis, JSON on the wire.

One entry of the Redis Stream is one event and has one field. Plain deltas, nearly all of a log, are stored as bare
text under a two-character field (``t0`` = text of block 0), which costs Redis about 22 bytes a token; all other events
are stored as JSON under ``j``. PROTOCOL.md, clauses LOG-4 and EVT-1 … EVT-13.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import msgspec

from broker.position import Position
from broker.record import created_record
from broker.values import CancelReason, ErrorInfo, FinishReason, Mode, Timing, Usage


class _Event(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type"):
    """What all events share."""


class Created(_Event, frozen=True, tag="generation.created"):
    """The first entry of every log: the record as it was at submit."""

    generation: dict[str, Any]


class Started(_Event, frozen=True, omit_defaults=False, tag="generation.started"):
    """A worker took the log. ``restart``: what came before is void; ``continue``: what came before stands."""

    attempt: int
    mode: Mode
    provider: str
    model: str


class Retrying(_Event, frozen=True, omit_defaults=False, tag="generation.retrying"):
    """The provider refused before its first token; it is asked again after ``delay_s`` seconds."""

    attempt: int
    delay_s: float
    error: ErrorInfo


class TextDelta(_Event, frozen=True, tag="text.delta"):
    """A piece of the answer; ``merged`` only on the wire: how many entries were joined into this event."""

    block: int
    text: str
    merged: int | None = None


class ReasoningDelta(_Event, frozen=True, tag="reasoning.delta"):
    """A piece of reasoning; ``signature`` and ``opaque`` are the provider's, byte-exact."""

    block: int
    text: str
    signature: str | None = None
    opaque: str | None = None
    merged: int | None = None


class RefusalDelta(_Event, frozen=True, tag="refusal.delta"):
    """A piece of a refusal."""

    block: int
    text: str
    merged: int | None = None


class ToolCallStarted(_Event, frozen=True, tag="tool_call.started"):
    """The model begins a tool call."""

    block: int
    call_id: str
    name: str


class ToolCallDelta(_Event, frozen=True, tag="tool_call.delta"):
    """A fragment of a tool call's arguments: not JSON until the call is completed."""

    block: int
    call_id: str
    arguments: str
    merged: int | None = None


class ToolCallCompleted(_Event, frozen=True, tag="tool_call.completed"):
    """The whole tool call; ``arguments`` is valid JSON text."""

    block: int
    call_id: str
    name: str
    arguments: str


class Completed(_Event, frozen=True, omit_defaults=False, tag="generation.completed"):
    """The answer is whole."""

    finish_reason: FinishReason
    provider_finish_reason: str | None = None
    stop_sequence: str | None = None
    usage: Usage | None = None
    timing: Timing | None = None


class Failed(_Event, frozen=True, omit_defaults=False, tag="generation.failed"):
    """The answer will not become whole; what came so far stays readable."""

    error: ErrorInfo
    usage: Usage | None = None
    timing: Timing | None = None


class Cancelled(_Event, frozen=True, omit_defaults=False, tag="generation.cancelled"):
    """The generation was stopped on purpose."""

    reason: CancelReason
    usage: Usage | None = None
    timing: Timing | None = None


Delta: TypeAlias = TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta
"""Events that may be joined with their neighbour of the same kind and block."""
Terminal: TypeAlias = Completed | Failed | Cancelled
"""Events that end a log."""
ContentEvent: TypeAlias = Delta | ToolCallStarted | ToolCallCompleted
"""Events that carry a part of the answer."""
Event: TypeAlias = Created | Started | Retrying | ContentEvent | Terminal

DELTA_TYPES = (TextDelta, ReasoningDelta, RefusalDelta, ToolCallDelta)
CONTENT_TYPES = (*DELTA_TYPES, ToolCallStarted, ToolCallCompleted)
TERMINAL_TYPES = (Completed, Failed, Cancelled)
EVENT_TYPES = (Created, Started, Retrying, *CONTENT_TYPES, *TERMINAL_TYPES)


class Entry(NamedTuple):
    """One event and where it stands; in a merged event ``position`` is that of the last entry it holds."""

    position: Position
    event: Event


def event_type(event: Event | type[Event]) -> str:
    """The ``type`` of an event or of an event class, for instance ``text.delta``."""
    return str(event.__struct_config__.tag)


_json = msgspec.json.Encoder()
_any_event = msgspec.json.Decoder(Event)

# -- JSON, for the wire ---------------------------------------------------------------------------------------------


def event_to_json(event: Event) -> bytes:
    """One line of JSON (UTF-8) with a ``type``."""
    return _json.encode(event)


def event_from_json(data: bytes | str) -> Event:
    """The inverse of :func:`event_to_json`. Raises ``msgspec.ValidationError`` or ``DecodeError`` for anything else."""
    return _any_event.decode(data)


# -- compact, for the log -------------------------------------------------------------------------------------------

_FIRST_TEXT_FIELD = b"t0"
"""Nearly every entry of nearly every log."""
_JSON_FIELD = b"j"
_CREATED_FIELD = b"c"
"""The first entry, whose JSON the script completes with the time of creation: see :func:`created_head`."""
_PLAIN: dict[bytes, type[TextDelta | RefusalDelta]] = {b"t": TextDelta, b"f": RefusalDelta}


def created_head(generation: str, model: str, metadata: dict[str, str]) -> bytes:
    """The value of the first entry up to its last number: milliseconds of creation and a brace follow."""
    head = _json.encode({"id": generation, "model": model, "metadata": metadata})
    return head[:-1] + b',"created_at_ms":'


class _Stored(msgspec.Struct, frozen=True):
    """The JSON of the first entry."""

    id: str
    model: str
    metadata: dict[str, str]
    created_at_ms: int


_stored = msgspec.json.Decoder(_Stored)


def _created_generation(value: bytes) -> dict[str, Any]:
    stored = _stored.decode(value)
    return created_record(stored.id, stored.model, stored.created_at_ms, stored.metadata).to_dict()


def encode_entry(event: Event) -> tuple[bytes, bytes]:
    """The one field and value under which the log keeps this event."""
    if type(event) is TextDelta and event.merged is None:
        # Nearly all of them.
        return (b"t%d" % event.block if event.block else _FIRST_TEXT_FIELD), event.text.encode()
    match event:
        case ReasoningDelta(block=block, text=text, signature=None, opaque=None, merged=None):
            return b"r%d" % block, text.encode()
        case RefusalDelta(block=block, text=text, merged=None):
            return b"f%d" % block, text.encode()
        case ToolCallDelta(block=block, call_id=call_id, arguments=arguments, merged=None) if "\n" not in call_id:
            return b"a%d" % block, f"{call_id}\n{arguments}".encode()
        case _:
            return _JSON_FIELD, _json.encode(event)


def decode_entry(field: bytes, value: bytes) -> Event:
    """The inverse of :func:`encode_entry`; raises ``ValueError`` for what this version can't read."""
    if field == _FIRST_TEXT_FIELD:
        return TextDelta(0, value.decode())
    kind, block = field[:1], field[1:]
    if field == _JSON_FIELD:
        return _any_event.decode(value)
    if field == _CREATED_FIELD:
        return Created(_created_generation(value))
    text = value.decode()
    if kind in _PLAIN:
        return _PLAIN[kind](block=int(block), text=text)
    if kind == b"r":
        return ReasoningDelta(block=int(block), text=text)
    if kind == b"a":
        call_id, _, arguments = text.partition("\n")
        return ToolCallDelta(block=int(block), call_id=call_id, arguments=arguments)
    raise ValueError(f"unknown entry field {field!r}")
