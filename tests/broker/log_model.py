"""What a log must do, as a list and a few words: the model of ``test_log_machine.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from broker.events import TERMINAL_TYPES, Created, Event, Started, TextDelta
from broker.notices import parse_notice
from broker.position import Position
from broker.scripts import AppendReply, Fence
from tests.broker.store import Store, Writer

END = "<end>"
"""How the model writes a terminal entry."""
Heard = list[tuple[list[str], Position | None]]


def shown(event: Event) -> str:
    """An entry as the model writes it."""
    match event:
        case Created():
            return "<created>"
        case Started():
            return f"<start {event.attempt}>"
        case TextDelta():
            return event.text
        case _:
            assert isinstance(event, TERMINAL_TYPES)
            return END


async def rows_of(store: Store, generation: str) -> list[tuple[Position, str]]:
    """The log as the server has it."""
    return [(Position(*map(int, place.split("-"))), shown(event)) for place, event in await store.rows(generation)]


async def hear(pubsub: Any, count: int) -> Heard:
    """The next notices: what they carry, and what stands before it; fewer, if no more come."""
    found: Heard = []
    silent = 0
    while len(found) < count and silent < 3:
        message = await pubsub.get_message(timeout=1.0)
        silent += message is None
        if message is not None and message["type"] == "message":
            notice = parse_notice(message["data"])
            found.append(([shown(entry.event) for entry in notice.entries], notice.previous))
    return found


@dataclass
class Model:
    """What the server must hold and answer."""

    rows: list[tuple[Position, str]]
    epoch: int
    owner: str = ""
    alive: bool = False
    """The owner's lease runs."""
    attempt: int = 0
    losses: int = 0
    cancel: str = ""
    there: bool = True
    """The log's key exists."""
    known: bool = True
    """The job's key exists."""
    notices: Heard = field(default_factory=list[tuple[list[str], Position | None]])
    """What the viewers must have been told since it was last compared."""

    @property
    def top(self) -> Position:
        """The last entry."""
        return self.rows[-1][0]

    @property
    def ended(self) -> bool:
        """Whether that is a terminal one."""
        return self.rows[-1][1] == END

    def claim(self, name: str, *, most: int) -> str:
        """The answer to a claim; a new epoch, and the end of a log that is lost, are the caller's to fill in."""
        if not self.known or not self.there:
            return "gone"
        if self.ended:
            return "ended"
        if self.owner and self.owner == name:
            self.alive = True
            return "claimed"
        if self.alive:
            return "busy"
        if self.owner:
            self.losses += 1
            if self.losses >= most:
                return "lost"
        self.owner, self.alive, self.attempt = name, True, self.attempt + 1
        return "claimed"

    def take(self, fence: Fence, first: int, texts: list[str]) -> str:
        """The answer to an append or an end, whose new entries are added."""
        refusal = self._refusal(fence, first)
        if refusal:
            return refusal
        there = self.top.seq - first + 1
        if self.ended:
            return "ok" if texts[-1:] == [END] and there >= len(texts) else "ended"
        self._add(fence.epoch, [text for text in texts[there:] if text != END])
        if texts[-1:] == [END]:
            self._add(fence.epoch, [END])
        self.alive = texts[-1:] != [END]
        return "ok"

    def _refusal(self, fence: Fence, first: int) -> str:
        if not self.known or not self.there:
            return "gone"
        if self.epoch < fence.epoch or (
            self.epoch == fence.epoch and self.owner == fence.owner and self._foreign(first)
        ):
            return "diverged"
        if (self.owner, self.epoch) != (fence.owner, fence.epoch):
            return "ended" if self.ended else "fenced"
        return "behind" if self.top.seq < first - 1 else ""

    def _foreign(self, first: int) -> bool:
        """Where the owner would write stands an entry that is not its own."""
        return self.top.seq >= first and self.top.epoch != self.epoch

    def _add(self, epoch: int, texts: list[str]) -> None:
        if texts:
            self.notices.append((texts, self.top))
            self.rows += [(Position(epoch, self.top.seq + n), text) for n, text in enumerate(texts, 1)]

    def close(self, end: Position) -> None:
        """A script has ended the log there."""
        self.notices.append(([END], self.top))
        self.rows.append((end, END))
        self.epoch, self.owner, self.alive = end.epoch, "", False

    def cancel_outcome(self) -> str:
        """The answer to a cancel."""
        if not self.known:
            return "gone"
        if self.ended:
            return "ended"
        if not self.there:
            return "gone"
        return "asked" if self.owner and self.alive else "cancelled"

    def heard(self, notices: Heard) -> None:
        """Compare what the viewers were told."""
        assert notices == self.notices
        self.notices = []

    def agrees(self, held: Mapping[str, str]) -> None:
        """The job hash says what the list says."""
        assert f"{held['top']}-{held['seq']}" == str(self.top)
        assert (int(held["epoch"]), held["owner"]) == (self.epoch, self.owner)
        assert (int(held["attempt"]), int(held["losses"])) == (self.attempt, self.losses)
        assert held.get("cancel", "") == self.cancel
        begun = any(text.startswith("<start") for _, text in self.rows)
        assert (held["status"] in ("completed", "cancelled", "failed")) == self.ended
        if not self.ended:
            assert held["status"] == ("running" if begun else "queued")
        assert (int(held["lease_until"]) > 1) == self.alive
        assert ("finished_at" in held) == self.ended


@dataclass
class Pen:
    """A writer with all that it has ever said under its claim: what it may say again after a loss."""

    writer: Writer
    first: int
    attempt: int
    held: list[str] = field(default_factory=list[str])
    last: int = 0
    """How many entries its last append had."""

    @property
    def fence(self) -> Fence:
        """What it proves itself with."""
        return self.writer.fence

    def plan(self, new: list[str], *, ending: bool) -> list[str]:
        """All it will have said; it begins with its start, or ends at once; and says nothing behind its end."""
        if self.held[-1:] == [END]:
            return self.held
        start = [] if self.held or ending else [f"<start {self.attempt}>"]
        return [*self.held, *start, *new, *([END] if ending else [])]

    async def send(self, first: int, texts: list[str]) -> AppendReply:
        """Append, or end."""
        start = texts[:1] if texts[:1] == [f"<start {self.attempt}>"] else []
        if texts[-1:] == [END]:
            return await self.writer.end(*texts[:-1], first=first)
        events: list[Event] = [Started(self.attempt, "restart", "demo", "demo-1") for _ in start]
        events += [TextDelta(0, text) for text in texts[len(start) :]]
        how = {"started": f"restart {self.attempt}"} if start else {}
        return await self.writer.append(*events, first=first, **how)
