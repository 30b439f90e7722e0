"""The log against a list: whatever writers, failovers and readers do, it is dense, fenced and ends once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar, cast

from fakeredis import FakeAsyncRedis, FakeServer
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broker.events import TERMINAL_TYPES, TextDelta
from broker.follow import Follower
from broker.position import Position
from broker.redis import Redis
from broker.scripts import Claim, Fence
from broker.settings import Settings
from tests.broker.store import Store, Writer

T = TypeVar("T")


class LogModel(RuleBasedStateMachine):
    """Two rival owners, one log, and a server that sometimes forgets its newest entries."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        client = cast("Redis", FakeAsyncRedis(server=FakeServer()))
        self.store = Store.on(client, Settings(key_prefix="model", max_attempts=1000))
        self.generation = self.run(self.store.submit())
        self.owner: Writer | None = None
        self.stale: list[Writer] = []
        self.words: list[str] = []
        """The text that stands in the log, an entry each."""
        self.ended = False
        self.claims = 0
        self.seen = Follower()

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        """One step of the machine."""
        return self.runner.run(step)

    def teardown(self) -> None:
        """Close the loop of this run."""
        self.run(self.store.redis.aclose())
        self.runner.close()

    @rule(lapse=st.booleans())
    def claim(self, lapse: bool) -> None:
        """Somebody new wants the log: granted only if nobody's lease lives and it has not ended."""
        if lapse:
            self.run(self.store.lapse(self.generation))
        self.claims += 1
        granted = self.run(self.store.claim(self.generation, f"owner{self.claims}", max_attempts=1000))
        free = self.owner is None or lapse
        assert isinstance(granted, Claim) == (free and not self.ended)
        if isinstance(granted, Claim):
            if self.owner is not None:
                self.stale.append(self.owner)
            fence = Fence(f"owner{self.claims}", granted.epoch)
            self.owner = Writer(self.store, self.generation, fence, granted.top.seq + 1)

    @precondition(lambda self: self.owner is not None)
    @rule(words=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), min_size=1, max_size=4))
    def append(self, words: list[str]) -> None:
        """The owner writes; after the end it can't."""
        assert self.owner is not None
        reply = self.run(self.owner.say(*words))
        assert reply.kind == ("ended" if self.ended else "ok")
        if not self.ended:
            self.words += words

    @precondition(lambda self: self.owner is not None and self.words and not self.ended)
    @rule(back=st.integers(1, 3), more=st.lists(st.just("m"), max_size=2))
    def append_again(self, back: int, more: list[str]) -> None:
        """A reply was lost: what stands there already is not written twice."""
        assert self.owner is not None
        rows = self.run(self.store.rows(self.generation))
        own = [e.text for p, e in rows if p.startswith(f"{self.owner.fence.epoch}-") and isinstance(e, TextDelta)]
        again = own[-back:]
        if not again:
            return
        first = self.owner.next_seq - len(again)
        texts = [TextDelta(0, text) for text in (*again, *more)]
        assert self.run(self.owner.append(*texts, first=first)).kind == "ok"
        self.words += more

    @precondition(lambda self: bool(self.stale))
    @rule(ending=st.booleans())
    def zombie(self, ending: bool) -> None:
        """A fenced writer wakes and writes: never."""
        writer = self.stale[-1]
        reply = self.run(writer.end("zombie") if ending else writer.say("zombie"))
        assert reply.kind in ("fenced", "ended")

    @precondition(lambda self: self.owner is not None and not self.ended)
    @rule(ahead=st.integers(1, 5))
    def hole(self, ahead: int) -> None:
        """Entries that would leave a hole are refused."""
        assert self.owner is not None
        reply = self.run(self.owner.append(TextDelta(0, "later"), first=self.owner.next_seq + ahead))
        assert reply.kind == "behind"

    @precondition(lambda self: self.owner is not None and not self.ended)
    @rule()
    def end(self) -> None:
        """The owner ends the log."""
        assert self.owner is not None
        assert self.run(self.owner.end("last")).kind == "ok"
        self.words.append("last")
        self.ended = True

    @rule()
    def cancel(self) -> None:
        """Ends the log where nobody owns it, asks where somebody does."""
        outcome = self.run(self.store.jobs.cancel(self.generation, "client"))
        if self.ended:
            assert outcome == "ended"
        elif self.owner is None:
            assert outcome == "cancelled"
            self.ended = True
        else:
            assert outcome == "asked"

    @rule(limit=st.integers(1, 5))
    def read(self, limit: int) -> None:
        """A reader that turns pages never sees a step that is not the next one."""
        if not self.seen.ended:
            page, _ = self.run(self.store.log.page(self.generation, self.seen.position, limit=limit))
            assert self.seen.on_page(page).kind == "entries"

    @invariant()
    def the_log_is_whole(self) -> None:
        """Dense, epochs never fall, one terminal event at the very end, and the hash agrees."""
        rows = self.run(self.store.rows(self.generation))
        places = [Position(*map(int, position.split("-"))) for position, _ in rows]
        assert [place.seq for place in places] == list(range(1, len(rows) + 1))
        assert [place.epoch for place in places] == sorted(place.epoch for place in places)
        terminal = [n for n, (_, event) in enumerate(rows) if isinstance(event, TERMINAL_TYPES)]
        assert terminal == ([len(rows) - 1] if self.ended else [])
        assert [event.text for _, event in rows if isinstance(event, TextDelta)] == self.words
        record = self.run(self.store.records.get(self.generation))
        assert record.last_event_id == str(places[-1])
        assert record.ended == self.ended


TestLogModel = LogModel.TestCase
TestLogModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
