"""From a ``sequence_number`` to the place in the log that it stands for: pure."""

from __future__ import annotations

from collections.abc import Iterable

from api.formats.openai_responses import ResponsesFold
from broker.events import CONTENT_TYPES, Entry, Started
from broker.position import Cursor


class SequenceSearch:
    """``starting_after``: feed it the log from its start, entry by entry and unmerged, in batches of any size.

    Found as soon as there is a ``cursor``. Whether the frame is void is known only once the whole log has been fed.
    """

    def __init__(self, fold: ResponsesFold, starting_after: int) -> None:
        self.cursor: Cursor | None = None
        """Where whoever has this frame stands; None = so far there is no such frame."""
        self.void = False
        """The frame belongs to the content of an attempt that has become void."""
        self._fold = fold
        self._state = fold.start()
        self._target = starting_after
        self._at = Cursor()
        self._in_content = False

    def feed(self, entries: Iterable[Entry]) -> None:
        """Take the next entries."""
        for entry in entries:
            if self.cursor is None:
                self._look(entry)
            elif self._in_content and _restarts(entry):
                self.void = True

    def _look(self, entry: Entry) -> None:
        first = self._state.sequence
        self._state, frames = self._fold.step(self._state, entry)
        if self._target < self._state.sequence:
            number = self._target - first + 1
            if number > len(frames):
                # The number that a restart leaves for the error frame: told to those who stood before it.
                self.cursor, self.void = self._at, True
            else:
                self.cursor = Cursor(entry.position, number if number < len(frames) else 0)
                self._in_content = isinstance(entry.event, CONTENT_TYPES)
        self._at = Cursor(entry.position)


def _restarts(entry: Entry) -> bool:
    return isinstance(entry.event, Started) and entry.event.mode == "restart"
