"""All that one worker has to say in one log, and how much of it is written: pure, the memory behind the writer.

Nothing is let go before the end, because a server that lost its tail, or our claim, has to be told again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from broker.events import DELTA_TYPES, ContentEvent, Event, Mode, Started, encode_entry
from broker.scripts import FieldValue

APPEND_ENTRIES = 500
APPEND_BYTES = 256 * 1024


@dataclass(slots=True)
class Portion:
    """What one append carries."""

    first: int
    """The seq of the first entry."""
    entries: list[FieldValue]
    started: str
    """``<mode> <attempt>`` when the first entry is a ``generation.started``, else empty."""
    first_token: bool
    """The first token of the answer is among them."""


@dataclass(frozen=True, slots=True)
class Origin:
    """How an attempt began."""

    provider: str
    model: str
    mode: Mode
    prefix: Sequence[ContentEvent]
    """What stood in the log before a ``continue``."""


class Held:
    """The entries from seq ``first`` on; ``prefix`` is what stood in the log before them and still counts."""

    def __init__(self, first: int, prefix: Sequence[ContentEvent]) -> None:
        self._first = first
        self._prefix = [encode_entry(event) for event in prefix]
        self._entries: list[FieldValue] = []
        self._begins: dict[int, tuple[Mode, int]] = {}
        """Index of each ``generation.started`` -> its mode and attempt."""
        self._token_at: int | None = None
        self._written = 0
        self.unwritten_bytes = 0
        self.bytes = 0
        """Size of all entries."""

    @property
    def next_seq(self) -> int:
        """The seq of the first entry that is not written."""
        return self._first + self._written

    @property
    def all_written(self) -> bool:
        """Whether nothing waits."""
        return self._written == len(self._entries)

    def put(self, event: Event) -> None:
        """Take one more."""
        if isinstance(event, Started):
            self._begins[len(self._entries)] = event.mode, event.attempt
        elif self._token_at is None and isinstance(event, DELTA_TYPES):
            self._token_at = len(self._entries)
        entry = encode_entry(event)
        self._entries.append(entry)
        size = len(entry[1])
        self.bytes += size
        self.unwritten_bytes += size

    def portion(self) -> Portion:
        """What to write next; a beginning stands first in its portion, so that the script can note it."""
        at, size = self._written, 0
        if len(self._entries) - at == 1 and at not in self._begins:
            return Portion(self.next_seq, self._entries[at:], "", first_token=self._token_at == at)
        entries: list[FieldValue] = []
        for entry in self._entries[at : at + APPEND_ENTRIES]:
            begins = at + len(entries) in self._begins
            if entries and (begins or size + len(entry[1]) > APPEND_BYTES):
                break
            entries.append(entry)
            size += len(entry[1])
        started = "{} {}".format(*self._begins[at]) if entries and at in self._begins else ""
        first_token = self._token_at is not None and at <= self._token_at < at + len(entries)
        return Portion(self.next_seq, entries, started, first_token)

    def acknowledge(self, portion: Portion) -> None:
        """The log has it."""
        self._move(portion.first - self._first + len(portion.entries))

    def knows(self, top_seq: int) -> bool:
        """Whether a log that ends in this seq ends in an entry of ours, or right before them."""
        return top_seq >= self._first - 1

    def rewind(self, top_seq: int) -> int:
        """The log lost everything behind ``top_seq``; answers how many entries that voids."""
        before = self._written
        self._move(top_seq + 1 - self._first)
        return before - self._written

    def start_over(self, first: int, started: Started) -> None:
        """Say all that still counts again, from seq ``first`` on, behind this new beginning."""
        restarts = [index for index, (mode, _) in self._begins.items() if mode == "restart"]
        kept = self._entries[restarts[-1] + 1 :] if restarts else [*self._prefix, *self._entries]
        skipped = restarts[-1] + 1 if restarts else -len(self._prefix)
        content = [entry for index, entry in enumerate(kept, skipped) if index not in self._begins]
        self._first, self._written = first, 0
        self._prefix, self._entries, self._begins = [], [], {}
        self.bytes = self.unwritten_bytes = 0
        self.put(started)
        self._token_at = 1 if content else None
        self._add(content)

    def drop_unwritten(self) -> None:
        """Forget what can't be written: the log ends before it."""
        lost = self._size(self._written, len(self._entries))
        del self._entries[self._written :]
        self.bytes -= lost
        self.unwritten_bytes = 0

    def _add(self, entries: Iterable[FieldValue]) -> None:
        for entry in entries:
            self._entries.append(entry)
            self.bytes += len(entry[1])
            self.unwritten_bytes += len(entry[1])

    def _move(self, written: int) -> None:
        before, self._written = self._written, written
        if written == before + 1:
            self.unwritten_bytes -= len(self._entries[before][1])
        elif written >= before:
            self.unwritten_bytes -= self._size(before, written)
        else:
            self.unwritten_bytes += self._size(written, before)

    def _size(self, start: int, stop: int) -> int:
        return sum(len(value) for _, value in self._entries[start:stop])
