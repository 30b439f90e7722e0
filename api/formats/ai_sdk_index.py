"""Where the n-th chunk of a UI message stream stands in its log: for clients that resume by counting. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from api.formats.ai_sdk import AiSdkFold, chunks_in
from broker.events import Entry
from broker.position import Cursor
from broker.submission import Submission


class ChunkIndex:
    """Feed it a log's entries from the first on. ``wanted``: the chunk to begin with; negative = from the end.

    A chunk counts whether or not it is void by now, as a client counts all that it was sent.
    """

    def __init__(self, submission: Submission, wanted: int) -> None:
        self._fold = AiSdkFold(submission)
        self._state = self._fold.start()
        self._wanted = wanted
        self._last: deque[Cursor] = deque(maxlen=max(0, -wanted))
        self._found: Cursor | None = None
        self._behind = Cursor()
        self.count = 0
        """How many chunks there have been."""

    def take(self, entries: Iterable[Entry]) -> bool:
        """The next entries. True = the chunk is found, and nothing more needs to be fed."""
        for entry in entries:
            self._state, frames = self._fold.step(self._state, entry)
            chunks = chunks_in(frames)
            for frame in range(chunks):
                self._place(Cursor(entry.position, frame) if frame else self._behind)
            # Behind the last chunk there may be an end mark to come, which no client counts.
            self._behind = Cursor(entry.position, chunks if chunks < len(frames) else 0)
        return self._found is not None

    def cursor(self) -> Cursor | None:
        """Where a reader stands whose next chunk is the wanted one; None = the log has not come so far."""
        if self._wanted < 0:
            return self._last[0] if self._last else self._behind
        return self._behind if self._wanted == self.count else self._found

    def _place(self, cursor: Cursor) -> None:
        if self.count == self._wanted:
            self._found = cursor
        self._last.append(cursor)
        self.count += 1
