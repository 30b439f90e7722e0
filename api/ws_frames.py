"""The messages of ``/v1/ws``, both ways: PROTOCOL.md, section 15. Pure."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, TypeAlias

import msgspec

from api.formats.base import wire_json
from broker.errors import RejoinderError
from broker.events import event_to_json
from broker.tail_items import Batch, TailItem

SUBPROTOCOL = "rejoinder.v1"
BEARER = "bearer."
"""Begins the offered subprotocol that bears a key."""

REF_LIMIT = 255
"""Characters of a ``ref`` or an id: they are repeated in answers."""


class Close(IntEnum):
    """Why a socket was closed: 4000 … 4499 = come back, and resume; 4500 and above = coming back will not help."""

    INTERNAL = 4000
    DRAINING = 4001
    STALLED = 4002
    LOG_UNAVAILABLE = 4003
    BAD_MESSAGE = 4500
    UNAUTHORIZED = 4501
    TOO_LARGE = 4502


CLOSE_MEANINGS = {
    Close.INTERNAL: "A fault of the node's own; it has been logged.",
    Close.DRAINING: "The node is leaving; another one takes its place.",
    Close.STALLED: "The socket took nothing for `REJOINDER_SEND_TIMEOUT_S`, or a ping was not answered for as long.",
    Close.LOG_UNAVAILABLE: "Redis could not be reached for `REJOINDER_HOLD_S`.",
    Close.BAD_MESSAGE: "What the client sent is none of its messages.",
    Close.UNAUTHORIZED: "A valid API key is required.",
    Close.TOO_LARGE: "A message was larger than `REJOINDER_MAX_BODY_BYTES`.",
}


class SocketError(RejoinderError):
    """Said on a socket only: no HTTP answer carries it."""


class LogEnded(SocketError):
    """The position is that of the terminal event: nothing comes behind it."""

    code = "ended"


class AlreadySubscribed(SocketError):
    """This socket reads this generation already."""

    code = "already_subscribed"


class TooManySubscriptions(SocketError):
    """This socket reads as many generations as one may (`REJOINDER_WS_MAX_SUBSCRIPTIONS`)."""

    code = "too_many_subscriptions"


class BadMessage(Exception):
    """What the client sent is none of its messages: its text says why, and repeats nothing of it."""


# -- from the client --------------------------------------------------------------------------------------------------


class Submit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="submit"):
    """Commit a generation and subscribe to it. ``request`` is judged like a body of ``POST /v1/generations``."""

    ref: str | int
    request: msgspec.Raw
    idempotency_key: str | None = None


class Subscribe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="subscribe"):
    """Read a generation behind a position."""

    id: str
    after: str | None = None


class Unsubscribe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="unsubscribe"):
    """Read it no more."""

    id: str


class Cancel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="cancel"):
    """Ask for a generation's end."""

    id: str


class Ping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ping"):
    """Ask for a pong."""


ClientMessage: TypeAlias = Submit | Subscribe | Unsubscribe | Cancel | Ping

_decoder = msgspec.json.Decoder(ClientMessage)


def parse_message(text: str | None) -> ClientMessage:
    """What the client said; None = it was no text. Raises :class:`BadMessage`."""
    if text is None:
        raise BadMessage("messages are text")
    try:
        message = _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise BadMessage(f"not a message of {SUBPROTOCOL}: {_located(error)}") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise BadMessage("not valid JSON") from None
    repeated = message.ref if isinstance(message, Submit) else getattr(message, "id", "")
    if len(str(repeated)) > REF_LIMIT:
        raise BadMessage(f"a ref or an id has at most {REF_LIMIT} characters")
    return message


def _located(error: msgspec.ValidationError) -> str:
    """Where the fault is; what stands there is not repeated."""
    _, found, path = str(error).rpartition(" - at `")
    return f"at {path.rstrip('`')}" if found else "its type or a field of it is missing or not known"


def offered_key(subprotocols: list[str]) -> str | None:
    """The key among the offered subprotocols."""
    return next((offer.removeprefix(BEARER) for offer in subprotocols if offer.startswith(BEARER)), None)


# -- from the server --------------------------------------------------------------------------------------------------

PONG = b'{"type":"pong"}'
_EVENT = b'{"type":"event","generation":"%b","id":"%d-%d","event":%b}'
_WIRE_EVENT = b'{"type":"event","generation":"%b","id":null,"event":%b}'


def event_messages(generation: str, item: TailItem) -> list[bytes]:
    """One message for each entry; wire-only events have a null id."""
    name = generation.encode()
    if isinstance(item, Batch):
        return [_EVENT % (name, *position, event_to_json(event)) for position, event in item.entries]
    return [_WIRE_EVENT % (name, wire_json(item))]


def accepted(ref: str | int, generation: str, *, replayed: bool) -> bytes:
    """A submit was committed; ``replayed`` = by an earlier one with the same key."""
    message: dict[str, Any] = {"type": "accepted", "ref": ref, "id": generation}
    return msgspec.json.encode({**message, "replayed": True} if replayed else message)


def refused(op: str, error: RejoinderError, *, ref: str | int | None = None, generation: str | None = None) -> bytes:
    """An error in answer to ``op``: it tells what an HTTP answer tells."""
    told: dict[str, Any] = {"type": "error", "ref": ref, "id": generation, "op": op}
    told |= {"code": error.code, "message": error.message, "retryable": error.retryable}
    if error.retry_after_s is not None:
        told["retry_after_s"] = round(error.retry_after_s, 3)
    if error.field:
        told["field"] = error.field
    errors = getattr(error, "errors", None)
    if errors:
        told["errors"] = errors
    return msgspec.json.encode(told)


# -- on the socket ----------------------------------------------------------------------------------------------------

_TEXT = 0x81
"""A whole message of text, in one frame, not masked: as servers send (RFC 6455, 5.2)."""


def frame(payload: bytes) -> bytes:
    """A message as it stands on the socket, the same on every socket: nothing is compressed."""
    size = len(payload)
    if size < 126:
        return bytes((_TEXT, size)) + payload
    if size < 65536:
        return b"%c\x7e%b%b" % (_TEXT, size.to_bytes(2, "big"), payload)
    return b"%c\x7f%b%b" % (_TEXT, size.to_bytes(8, "big"), payload)
