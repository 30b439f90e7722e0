"""What a wire format is: a pure fold from what a tail yields to pieces of the body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias, TypeVar

import msgspec

from broker.events import Entry
from broker.submission import Submission
from broker.tail_items import Live, Reset, TailItem


class Format(Protocol):
    """One reader's view of a log. Formats without a memory may share one instance among all readers."""

    @property
    def name(self) -> str:
        """The value of ``?format=``."""
        ...

    @property
    def media_type(self) -> str:
        """The body's Content-Type."""
        ...

    @property
    def shared(self) -> str | None:
        """Under which name all readers of this format share the bytes of a batch; None = each has its own."""
        ...

    @property
    def direct(self) -> bool:
        """Live entries may be written from where they are heard."""
        ...

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        """Headers of its own."""
        ...

    @property
    def heartbeat(self) -> bytes:
        """What is written after a silence; empty = this format has no word for it."""
        ...

    def preamble(self, retry_ms: int) -> bytes:
        """What stands in front of the first frame, in the same write."""
        ...

    def frames(self, item: TailItem) -> list[bytes]:
        """The frames of one item, each whole; the next item of the log must be the next one given.

        Raises:
            VoidAttempt: when what this reader has been sent is void and the format has no word to say so.
        """
        ...


class VoidAttempt(Exception):
    """The reader holds text of an attempt that is void now: break off, never glue two answers together.

    ``frames``: what to write before that, where the format has a word for an error.
    """

    def __init__(self, frames: list[bytes] | None = None) -> None:
        super().__init__("an attempt has become void")
        self.frames = frames or []


def wire_event(item: Live | Reset) -> dict[str, Any]:
    """The event that exists only on the wire and moves no cursor."""
    if isinstance(item, Reset):
        return {"type": "stream.reset", "reason": item.reason}
    return {"type": "stream.live"}


def wire_json(item: Live | Reset) -> bytes:
    """The same as one line of JSON."""
    return msgspec.json.encode(wire_event(item))


# -- formats with a memory --------------------------------------------------------------------------------------------

S = TypeVar("S")


class Fold(Protocol[S]):
    """A format whose frames depend on what came before: a pure fold over all entries of one log, from the first on.

    A state is immutable: several readers may go on from the same one. The attributes are those of the class.
    """

    name: ClassVar[str]
    """The value of ``?format=``."""
    media_type: ClassVar[str]
    """The body's Content-Type."""
    heartbeat: ClassVar[bytes]
    """What is written after a silence."""
    headers: ClassVar[Sequence[tuple[bytes, bytes]]]
    """Headers of its own."""
    says_restart: ClassVar[bool]
    """It has a word for an attempt that has become void; otherwise void attempts are left out or broken off."""
    merges: ClassVar[bool]
    """A client is left with the same when neighbouring deltas come as one: it counts no frames."""

    def __init__(self, submission: Submission) -> None: ...

    def start(self) -> S:
        """The state before the first entry."""
        ...

    def step(self, state: S, entry: Entry) -> tuple[S, list[bytes]]:
        """The state behind an entry, and the frames it makes, each whole and without an ``id:``.

        Deltas may come merged. All frames but the last of a merged one are those that its first entry makes.
        """
        ...

    def void(self, state: S) -> list[bytes]:
        """The error frames for a reader who holds a part of an attempt that has become void; the body breaks off."""
        ...


FoldKind: TypeAlias = type[Fold[Any]]


class Rope(NamedTuple):
    """Text that grows without being copied: what came before, and a piece."""

    before: Rope | None
    piece: str


def rope_text(rope: Rope | None) -> str:
    """All of it."""
    pieces: list[str] = []
    while rope is not None:
        pieces.append(rope.piece)
        rope = rope.before
    return "".join(reversed(pieces))
