"""The bare text of the answer, and nothing else. Contract sections 4 and 5 ("A takeover that restarts").

This format has no word for "what you have is void". So a void attempt is left out for whoever has not been sent any of
it, and for whoever has, the stream is broken off. To know which, a reader first surveys the log up to its tail.
"""

from __future__ import annotations

from api.formats.base import VoidAttempt
from broker.events import Entry, Started, TextDelta
from broker.position import START, Position
from broker.tail_items import Batch, Live, Reset, TailItem


class Text:
    """One reader: it remembers whether it has been sent any text of the attempt that stands."""

    name = "text"
    shared = None
    media_type = "text/plain; charset=utf-8"
    direct = False
    headers = ()
    heartbeat = b""

    def __init__(self) -> None:
        self.sent = False
        """Whether the reader holds text of the attempt that stands."""

    def preamble(self, retry_ms: int) -> bytes:
        """Nothing: every byte of this body is the answer's."""
        del retry_ms
        return b""

    def frames(self, item: TailItem) -> list[bytes]:
        """The text of the item's deltas. Raises :class:`VoidAttempt` when text that was sent has become void."""
        if isinstance(item, Live):
            return []
        if isinstance(item, Reset):
            self._void()
            return []
        pieces: list[bytes] = []
        for _, event in item.entries:
            if isinstance(event, TextDelta):
                if event.text:
                    pieces.append(event.text.encode())
            elif _restarts(event):
                self._void()
                pieces.clear()
        self.sent = self.sent or bool(pieces)
        return pieces

    def _void(self) -> None:
        if self.sent:
            raise VoidAttempt


class Survey:
    """A first look over the log for a reader at ``after``: where it may begin, and what it has been sent."""

    def __init__(self, after: Position) -> None:
        self._after = after
        self._known = after == START
        self._sent = False
        self._restart: Position | None = None

    def look(self, item: TailItem) -> None:
        """Take the next item of the log, read from its start and entry by entry."""
        if isinstance(item, Batch):
            for entry in item.entries:
                self._take(entry)

    def begin(self, reader: Text) -> Position:
        """The position to read on from. Raises :class:`VoidAttempt` when the reader holds text that is void now.

        A position that this log does not have may belong to a reader of any text, so it counts as one that holds some.
        """
        reader.sent = self._sent or not self._known
        if self._restart is None or self._restart <= self._after:
            return self._after
        if reader.sent:
            raise VoidAttempt
        return self._restart

    def _take(self, entry: Entry) -> None:
        position, event = entry
        self._known = self._known or position == self._after
        if _restarts(event):
            self._restart = position
            if position <= self._after:
                self._sent = False
        elif isinstance(event, TextDelta) and event.text and position <= self._after:
            self._sent = True


def _restarts(event: object) -> bool:
    return isinstance(event, Started) and event.mode == "restart"
