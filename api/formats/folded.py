"""One reader of a format with a memory: ids, cursors and void attempts, the same for all such formats. Pure.

What follows a position is the same for everybody who stands there, whichever node served what came before: a fold's
state is a function of the log alone. So what a batch comes to is worked out once and left in it for the other readers.
Contract section 5.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, NamedTuple

from api.formats.base import Fold, FoldKind, VoidAttempt
from api.sse import encode_retry
from broker.events import CONTENT_TYPES, Entry, Started
from broker.merge import merge_entries
from broker.position import Cursor, Position
from broker.submission import Submission
from broker.tail_items import Batch, Live, Reset, TailItem


class Point(NamedTuple):
    """Where a fold stands behind an entry, and whether a reader there holds any of the attempt that stands."""

    state: Any
    held: bool


class Framed:
    """What a batch comes to for a reader who stands before it and has nothing void ahead."""

    __slots__ = ("after", "pieces", "restarts")

    def __init__(self, after: Point, pieces: list[bytes], *, restarts: bool) -> None:
        self.after = after
        self.pieces = pieces
        self.restarts = restarts
        """An attempt becomes void in it: what that means depends on the reader."""

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.pieces)


class Folded:
    """A reader at ``cursor``. Call :meth:`bind`, :meth:`seek` unless it is at the start, :meth:`begin`, then read."""

    direct = True
    shared = None

    def __init__(self, kind: FoldKind, cursor: Cursor, *, merged: bool, submission: Submission | None = None) -> None:
        self.name = kind.name
        self.media_type = kind.media_type
        self.heartbeat = kind.heartbeat
        self.headers = kind.headers
        self.cursor = cursor
        self._kind = kind
        self._merged = merged and kind.merges
        self._key = f"{kind.name}, merged" if self._merged else kind.name
        self._fold: Fold[Any] | None = None
        self._at = Point(None, held=False)
        self._rest: list[bytes] = []
        """Frames of the entry that the reader has a part of."""
        self._broken = False
        """What the reader holds is not, or no longer, a part of this answer."""
        self._restart = 0
        """What stands in entries before this one is void."""
        if submission is not None:
            self.bind(submission)

    @property
    def bound(self) -> bool:
        """Whether it is known whose answer this is."""
        return self._fold is not None

    def bind(self, submission: Submission) -> None:
        """Say whose answer this is."""
        self._fold = self._kind(submission)
        self._at = Point(self._fold.start(), held=False)

    # -- before the first frame ---------------------------------------------------------------------------------------

    def seek(self, batch: Batch) -> bool:
        """Pass over what the reader has; batches from the log's start on. True = it stands where it said."""
        if batch.entries[-1].position.seq < self.cursor.position.seq:
            self._at = self._framed(batch, batch.entries, self._kind.name).after
            return False
        for entry in batch.entries:
            at = self._step(entry)
            if entry.position == self.cursor.position:
                return self._arrive(entry, *at)
            self._at = at[0]
        return False

    def _arrive(self, entry: Entry, after: Point, frames: list[bytes]) -> bool:
        has = self.cursor.frame
        if has:
            self._rest = _with_ids(entry, frames)[has:]
            if not self._rest:
                return False
        self._at = after
        return True

    def stand(self, at: Point) -> None:
        """The same at once, where it is known how the fold stands at the cursor."""
        self._at = at

    @property
    def at(self) -> Point:
        """How the fold stands."""
        return self._at

    def begin(self, restart: int, *, foreign: bool = False) -> None:
        """Say which entry was the last to void what came before it, and whether the cursor is not in this log."""
        self._restart = restart
        holds_void = self._at.held and restart > self.cursor.position.seq
        self._broken = foreign or (holds_void and not self._bound().says_restart)

    # -- frames -------------------------------------------------------------------------------------------------------

    def preamble(self, retry_ms: int) -> bytes:
        """The reconnection time, inside the first frame and before its data."""
        return encode_retry(retry_ms)

    def frames(self, item: TailItem) -> list[bytes]:
        """What is left of the entry the cursor stands in, and the item's frames."""
        fold = self._bound()
        rest, self._rest = self._rest, []
        if self._broken or (isinstance(item, Reset) and self._holds_anything()):
            raise VoidAttempt(fold.void(self._at.state))
        if isinstance(item, Reset):
            self._at = Point(fold.start(), held=False)
        if isinstance(item, Live | Reset) or not item.entries:
            return rest
        entries = item.entries if item.live or not self._merged else merge_entries(item.entries)
        framed = self._framed(item, entries, self._kind.name if entries is item.entries else self._key)
        if self._plain(item, framed):
            self._at = framed.after
            return rest + framed.pieces
        return self._carefully(entries, rest)

    def _holds_anything(self) -> bool:
        return self.cursor != Cursor() or self._at.held

    def peek(self, batch: Batch) -> Framed | None:
        """What live entries come to; None where that takes a closer look (:meth:`frames`). Nothing is moved."""
        if self._rest or self._broken or self._fold is None:
            return None
        framed = self._framed(batch, batch.entries, self._kind.name)
        return framed if self._plain(batch, framed) else None

    def go_on(self, framed: Framed) -> None:
        """The reader has been sent this."""
        self._at = framed.after

    def _plain(self, batch: Batch, framed: Framed) -> bool:
        first = batch.entries[0].position.seq
        return self._bound().says_restart or (not framed.restarts and first >= self._restart)

    def _framed(self, batch: Batch, entries: list[Entry], key: str) -> Framed:
        """Everybody who reads this batch stands before it, so whoever works it out first does so for all."""
        known: Framed | None = batch.encoded.get(key)
        if known is not None:
            return known
        mine, pieces, restarts = self._at, list[bytes](), False
        for entry in entries:
            self._at, frames = self._step(entry)
            restarts = restarts or _restarts(entry)
            pieces += _with_ids(entry, frames)
        after, self._at = self._at, mine
        framed = batch.encoded[key] = Framed(after, pieces, restarts=restarts)
        return framed

    def _carefully(self, entries: list[Entry], pieces: list[bytes]) -> list[bytes]:
        """Entry by entry: void content is left out, and whoever holds some is told so."""
        fold = self._bound()
        for entry in entries:
            if _restarts(entry) and self._at.held:
                raise VoidAttempt(pieces + fold.void(self._at.state))
            held = self._at.held
            self._at, frames = self._step(entry)
            if entry.position.seq < self._restart and isinstance(entry.event, CONTENT_TYPES):
                self._at = self._at._replace(held=held)
            else:
                pieces += _with_ids(entry, frames)
        return pieces

    def _step(self, entry: Entry) -> tuple[Point, list[bytes]]:
        state, frames = self._bound().step(self._at.state, entry)
        held = self._at.held and not _restarts(entry)
        return Point(state, held or (bool(frames) and isinstance(entry.event, CONTENT_TYPES))), frames

    def _bound(self) -> Fold[Any]:
        if self._fold is None:
            raise RuntimeError("a folded reader is bound before it reads")
        return self._fold


class Points:
    """Where folds stand at positions from which readers came back lately, the last ``limit`` of them."""

    def __init__(self, limit: int = 512) -> None:
        self._limit = limit
        self._known: OrderedDict[tuple[str, str, Position], Point] = OrderedDict()

    def find(self, generation: str, fold: str, position: Position) -> Point | None:
        """How this fold of this log stands there, if that is known."""
        key = generation, fold, position
        if key in self._known:
            self._known.move_to_end(key)
        return self._known.get(key)

    def keep(self, generation: str, fold: str, position: Position, point: Point) -> None:
        """Remember it."""
        self._known[generation, fold, position] = point
        while len(self._known) > self._limit:
            self._known.popitem(last=False)


def _restarts(entry: Entry) -> bool:
    return isinstance(entry.event, Started) and entry.event.mode == "restart"


def _with_ids(entry: Entry, frames: list[bytes]) -> list[bytes]:
    (epoch, seq), event = entry
    if len(frames) == 1:
        return [b"id: %d-%d\n%b" % (epoch, seq, frames[0])]
    # All frames but the last are those that the first entry of a merged one makes.
    first = seq - (getattr(event, "merged", None) or 1) + 1
    last = len(frames) - 1
    return [
        (b"id: %d-%d\n%b" % (epoch, seq, frame)) if k == last else (b"id: %d-%d.%d\n%b" % (epoch, first, k + 1, frame))
        for k, frame in enumerate(frames)
    ]
