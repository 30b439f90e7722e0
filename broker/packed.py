"""An append as it stands on the socket, and its reply: pure. A worker sends tens of thousands a second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from broker.position import Position

FieldValue = tuple[bytes, bytes]
"""One compact entry, see :func:`broker.events.encode_entry`."""


@dataclass(frozen=True, slots=True)
class Fence:
    """What every append carries to prove that it comes from the current owner."""

    owner: str
    epoch: int


@dataclass(frozen=True, slots=True)
class AppendReply:
    """``top`` for ``behind``; ``cancel``, the reason somebody asked for, for ``ok``; ``kept`` for a terminal entry."""

    kind: Literal["ok", "fenced", "ended", "behind", "diverged", "gone"]
    cancel: str = ""
    top: Position | None = None
    kept: bool = True
    """It has arrived wherever :class:`Safety` wants it."""


@dataclass(frozen=True, slots=True)
class AppendHead:
    """The constant words of an append in RESP: how many stand in front, these, and the channel."""

    words: int
    before: bytes
    channel: bytes


_TAKEN = AppendReply("ok")
_OK = [b"ok", b""]
"""What nearly every append is answered."""
_EMPTY = b"$0\r\n\r\n"


def append_head(sha: str, names: Sequence[str], fence: Fence, channel: str) -> AppendHead:
    """What all appends of one owner have in common; ``names`` = the script's keys."""
    words = ("EVALSHA", sha, len(names), *names, fence.owner, fence.epoch)
    return AppendHead(len(words), b"".join(map(_word, words)), _word(channel))


def pack_append(
    head: AppendHead,
    first: int,
    entries: Sequence[FieldValue],
    *,
    lease_ms: int | None,
    started: str = "",
    first_token: bool = False,
) -> bytes:
    """The command that :meth:`broker.scripts.Scripts.append` sends, with the same meaning."""
    if lease_ms is None and not started and not first_token and len(entries) == 1:
        # Nearly all of them.
        name, value = entries[0]
        seq = b"%d" % first
        return b"*%d\r\n%b$%d\r\n%b\r\n$0\r\n\r\n%b$0\r\n\r\n$0\r\n\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
            head.words + 7, head.before, len(seq), seq, head.channel, len(name), name, len(value), value,
        )  # fmt: skip
    lease = _EMPTY if lease_ms is None else _word(lease_ms)
    marks = _word(started) + _word("1" if first_token else "") if started or first_token else _EMPTY + _EMPTY
    body = [b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(name), name, len(value), value) for name, value in entries]
    count = head.words + 5 + 2 * len(entries)
    return b"*%d\r\n%b%b%b%b%b%b" % (count, head.before, _word(first), lease, head.channel, marks, b"".join(body))


def read_append(reply: Any) -> AppendReply | None:
    """What the script answered; None where it may have run or not, or could not."""
    return None if isinstance(reply, Exception) else append_reply(reply)


def append_reply(reply: list[Any]) -> AppendReply:
    """A reply of append.lua or end.lua."""
    if reply == _OK:
        return _TAKEN
    kind: Any = reply[0].decode()
    if kind == "behind":
        return AppendReply(kind, top=Position(int(reply[1]), int(reply[2])))
    return AppendReply(kind, cancel=reply[1].decode() if len(reply) > 1 else "")


def _word(value: str | int) -> bytes:
    data = b"%d" % value if isinstance(value, int) else value.encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)
