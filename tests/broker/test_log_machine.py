"""The log against a list: everything that writers, readers, time and a server that forgets can do to it, in any order.

Beside the entries it judges what is said about them: each reply, the job hash, the TTLs, and every notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from copy import deepcopy
from typing import Any, TypeVar, cast

import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from hypothesis import settings as effort
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from broker.client import Broker
from broker.errors import GenerationNotFound, LogExpired
from broker.follow import Follower
from broker.jobs import cancelled_head
from broker.position import START, Position
from broker.redis import Redis, connect
from broker.scripts import Fence, Refusal
from broker.settings import Settings
from rejoinder.embedded import EmbeddedServer
from tests.broker.log_model import END, Model, Pen, hear, rows_of, shown
from tests.broker.store import Store, Writer
from tests.conftest import MakeSettings
from tests.support.snapshot import Snapshot, restore, take

T = TypeVar("T")
RETENTION_S, DEADLINE_S = 50, 500
words = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), max_size=3)
rarely = st.integers(0, 9).map(lambda n: n == 0)


class LogMachine(RuleBasedStateMachine):
    """One generation, a row of writers that each believe it is theirs, and one list."""

    url: str | None = None
    own_settings = Settings(key_prefix="machine")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        client = connect(self.url) if self.url else cast("Redis", FakeAsyncRedis(server=FakeServer()))
        self.store = Store.on(client, self.own_settings)
        self.generation = self.run(self.store.submit(retention_s=RETENTION_S, deadline_s=DEADLINE_S))
        rows = self.rows()
        self.model = Model(rows, rows[0][0].epoch)
        self.pens: list[Pen] = []
        self.latest = self.model.epoch
        """The highest epoch there ever was, also of what has been forgotten."""
        self.memory: tuple[Snapshot, Model] | None = None
        self.pubsub = self.store.raw.pubsub()
        self.run(self.pubsub.subscribe(self.store.keys.channel(self.generation)))

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        """One step of the machine."""
        return self.runner.run(step)

    def teardown(self) -> None:
        """Close the connections of this run."""
        self.run(self.pubsub.aclose())
        self.run(self.store.redis.aclose())
        self.runner.close()

    def rows(self) -> list[tuple[Position, str]]:
        """The log as the server has it."""
        return self.run(rows_of(self.store, self.generation))

    def tick(self) -> None:
        """Let the millisecond of a claim pass that has been forgotten, as every failover does."""
        while self.latest > self.model.epoch and self.run(self.store.jobs.now_ms()) <= self.latest:
            pass

    @rule(again=rarely, last=rarely)
    def claim(self, again: bool, last: bool) -> None:
        """By somebody new, or again by the one who holds it; perhaps as the last attempt."""
        self.tick()
        name = self.pens[-1].fence.owner if again and self.pens else f"owner{len(self.pens)}"
        before = deepcopy(self.model)
        expected = self.model.claim(name, most=1 if last else 1000)
        granted = self.run(self.store.claim(self.generation, name, max_attempts=1 if last else 1000))
        if isinstance(granted, Refusal):
            assert granted.kind == expected
            if expected == "lost":
                self.ended_by_script()
            return
        assert expected == "claimed"
        assert (granted.top, granted.attempt, granted.losses) == (before.top, self.model.attempt, self.model.losses)
        assert granted.cancel == before.cancel
        if name == before.owner:
            assert granted.epoch == before.epoch
            return
        assert granted.epoch > self.latest
        self.latest = self.model.epoch = granted.epoch
        fence = Fence(name, granted.epoch)
        writer = Writer(self.store, self.generation, fence, granted.top.seq + 1)
        self.pens.append(Pen(writer, writer.next_seq, granted.attempt))

    def ended_by_script(self) -> None:
        """The terminal entry came from a script that stands above all writers: take over the epoch it chose."""
        end, _ = self.rows()[-1]
        assert end.epoch > self.model.epoch
        assert end.seq == self.model.top.seq + 1
        self.latest = max(self.latest, end.epoch)
        self.model.close(end)

    @precondition(lambda self: self.pens)
    @rule(new=words, pick=st.integers(0, 2), back=st.integers(0, 3), ending=rarely)
    def write(self, new: list[str], pick: int, back: int, ending: bool) -> None:
        """Anybody who ever held it writes on, from some entries back; who lost a tail says it again."""
        pen = self.pens[-1 - min(pick, len(self.pens) - 1)]
        self.put(pen, pen.plan(new, ending=ending), back)

    @precondition(lambda self: self.pens)
    @rule(new=words)
    def go_on(self, new: list[str]) -> None:
        """The newest owner writes on."""
        self.put(self.pens[-1], self.pens[-1].plan(new, ending=False), 0)

    @precondition(lambda self: self.pens)
    @rule(times=st.integers(1, 3))
    def repeat(self, times: int) -> None:
        """The very same append again: its reply was lost."""
        pen = self.pens[-1]
        for _ in range(times):
            self.put(pen, pen.held, pen.last)

    def put(self, pen: Pen, whole: list[str], back: int) -> None:
        """Write what of ``whole`` lies behind the first entries; repair a lost tail at once."""
        at = len(pen.held) - min(back, len(pen.held))
        reply = self.send(pen, whole, at)
        if reply == "behind" and self.model.top.seq + 1 >= pen.first:
            reply = self.send(pen, whole, self.model.top.seq + 1 - pen.first)
        if reply == "ok":
            pen.last = len(whole) - len(pen.held) or pen.last
            pen.held = whole

    def send(self, pen: Pen, whole: list[str], at: int) -> str:
        """One call, its reply compared; a start and the end never go out together."""
        if at == 0 and whole[-1:] == [END] and whole[0].startswith("<start"):
            reply = self.send(pen, whole[:-1], at)
            return reply if reply != "ok" else self.send(pen, whole, len(whole) - 1)
        first, texts = pen.first + at, whole[at:]
        reply = self.run(pen.send(first, texts))
        assert reply.kind == self.model.take(pen.fence, first, texts)
        if reply.kind == "behind":
            assert reply.top == self.model.top
        if reply.kind == "ok" and texts[-1:] != [END]:
            assert reply.cancel == self.model.cancel
        return reply.kind

    @precondition(lambda self: self.pens)
    @rule(gap=st.integers(0, 3), below=st.booleans(), ending=st.booleans())
    def misplaced(self, gap: int, below: bool, ending: bool) -> None:
        """An append that would leave a hole, stand behind the end or write over another's entries is refused."""
        pen = self.pens[-1]
        texts = ["misplaced", *([END] if ending and self.model.ended else [])]
        first = pen.first - 1 if below else self.model.top.seq + gap + 2 * (not self.model.ended)
        reply = self.run(pen.send(first, texts))
        assert reply.kind == self.model.take(pen.fence, first, texts)
        assert reply.kind != "ok" or below

    @precondition(lambda self: self.model.alive and self.model.known)
    @rule()
    def lapse(self) -> None:
        """The owner is silent for too long; it may come back before anybody else has come."""
        self.run(self.store.lapse(self.generation))
        self.model.alive = False

    @precondition(lambda self: self.pens)
    @rule(pick=st.integers(0, 2), forged=st.booleans())
    def release(self, pick: int, forged: bool) -> None:
        """Whoever holds it hands it over, also twice; nobody else can, not even with its epoch."""
        pen = self.pens[-1 - min(pick, len(self.pens) - 1)]
        fence = Fence("forger" if forged else pen.fence.owner, pen.fence.epoch)
        holds = self.model.known and self.model.epoch == fence.epoch and self.model.owner in ("", fence.owner)
        assert self.run(self.store.log.release(self.generation, fence)) == holds
        if holds:
            self.model.owner, self.model.alive = "", False

    @rule(sure=rarely)
    def cancel(self, sure: bool) -> None:
        """Asks the owner who lives; ends the log where there is none."""
        if not sure:
            return
        self.tick()
        expected = self.model.cancel_outcome()
        assert self.run(self.store.jobs.cancel(self.generation, "client")) == expected
        if expected == "cancelled":
            self.ended_by_script()
        elif expected == "asked":
            self.model.cancel = "client"

    @rule(sure=rarely)
    def expire(self, sure: bool) -> None:
        """The log goes; the record stays."""
        if sure:
            self.run(self.store.raw.delete(self.store.keys.log(self.generation)))
            self.model.there = False

    @rule(sure=rarely)
    def delete(self, sure: bool) -> None:
        """All goes."""
        if not sure:
            return
        outcome = self.run(self.store.scripts.delete(self.generation, cancelled_head("deleted")))
        if not self.model.known:
            assert outcome == "gone"
            return
        assert outcome == ("erased" if self.model.ended else "cancelled")
        if self.model.there and not self.model.ended:
            self.model.notices.append(([END], self.model.top))
        self.model.notices.append(([], None))
        self.model.known = self.model.there = False

    @precondition(lambda self: self.model.there)
    @rule()
    def remember(self) -> None:
        """A replica has come so far."""
        self.memory = self.run(take(cast("Broker", self.store), self.generation)), deepcopy(self.model)

    @precondition(lambda self: self.memory is not None)
    @rule()
    def forget(self) -> None:
        """That replica is promoted: the tail is lost, and claims and ends with it."""
        assert self.memory is not None
        self.tick()
        snapshot, model = self.memory
        self.run(restore(cast("Broker", self.store), self.generation, snapshot))
        self.model = deepcopy(model)

    @rule(at=st.integers(0, 40), limit=st.integers(1, 6), shift=st.sampled_from([0, 0, 0, 1, -1]))
    def read(self, at: int, limit: int, shift: int) -> None:
        """From any position, in pages of any size: exactly the rest, or a reset, or what is gone is said to be gone."""
        places = [START, *(place for place, _ in self.model.rows)]
        place = places[at % len(places)]
        after = Position(place.epoch + shift, place.seq + at // len(places)) if place != START else START
        follower, got = Follower(after), list[tuple[Position, str]]()
        while True:
            try:
                page, stat = self.run(self.store.log.page(self.generation, follower.position, limit=limit))
            except (LogExpired, GenerationNotFound) as error:
                assert not self.model.there
                assert isinstance(error, LogExpired) == (self.model.known and self.model.ended)
                return
            assert (stat.top, stat.ended) == (self.model.top, self.model.ended)
            step = follower.on_page(page, patient=False)
            if step.kind == "reset":
                assert after not in places
                after = START
                continue
            got += [(entry.position, shown(entry.event)) for entry in step.entries]
            if step.at_tail:
                break
        assert after in places
        assert got == [row for row in self.model.rows if row[0] > after]
        assert follower.ended == (self.model.ended and bool(self.model.rows))

    @invariant()
    def the_server_holds_what_the_list_holds(self) -> None:
        """Entry for entry; the hash agrees; every key has a TTL, a short one once it has ended."""
        self.model.heard(self.run(hear(self.pubsub, len(self.model.notices))))
        assert bool(self.run(self.store.raw.exists(self.store.keys.log(self.generation)))) == self.model.there
        if self.model.there:
            rows = self.rows()
            assert rows == self.model.rows
            assert [place.seq for place, _ in rows] == list(range(1, len(rows) + 1))
            assert [place.epoch for place, _ in rows] == sorted(place.epoch for place, _ in rows)
        held = self.run(self.store.hash(self.generation))
        assert bool(held) == self.model.known
        if held:
            self.model.agrees(held)
        most = RETENTION_S if self.model.ended else DEADLINE_S + 2 * RETENTION_S
        for name in (self.store.keys.log(self.generation), self.store.keys.request(self.generation)):
            left = self.run(self.store.raw.pttl(name))
            assert left == -2 or 0 < left <= most * 1000


@pytest.mark.timeout(180)
@pytest.mark.parametrize("server", ["fake", "real"])
def test_the_log_is_a_list(server: str, redis_server: EmbeddedServer, make_settings: MakeSettings) -> None:
    """On fakeredis and on the real server."""

    class Machine(LogMachine):
        url = redis_server.url if server == "real" else None
        own_settings = make_settings()

    run_state_machine_as_test(Machine, settings=effort(max_examples=40, stateful_step_count=40, deadline=None))
