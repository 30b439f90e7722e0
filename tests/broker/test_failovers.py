"""The log against a list of entries, on a server that forgets: rival writers, lost tails, readers at any position."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from hypothesis import settings as effort
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from broker.client import Broker
from broker.events import TERMINAL_TYPES, Event, TextDelta
from broker.follow import Follower
from broker.position import START, Position
from broker.redis import Redis, connect
from broker.scripts import AppendReply, Claim, Fence, Refusal
from broker.settings import Settings
from rejoinder.embedded import EmbeddedServer
from tests.broker.store import Store, Writer
from tests.conftest import MakeSettings
from tests.support.snapshot import Snapshot, restore, take

T = TypeVar("T")
END = "<end>"
"""How the model writes a terminal entry."""
said = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=3), max_size=3)


@dataclass
class Expected:
    """What the server must hold."""

    rows: list[tuple[Position, str]]
    epoch: int
    owner: str = ""
    alive: bool = False
    cancel: str = ""

    @property
    def top(self) -> Position:
        """The last entry."""
        return self.rows[-1][0]

    @property
    def ended(self) -> bool:
        """Whether that is a terminal one."""
        return self.rows[-1][1] == END

    def take(self, fence: Fence, first: int, texts: list[str]) -> str:
        """The answer to an append, whose new entries are added. The terminal one can only be the last."""
        if self.epoch < fence.epoch:
            return "diverged"
        if (self.owner, self.epoch) != (fence.owner, fence.epoch):
            return "ended" if self.ended else "fenced"
        if self.top.seq < first - 1:
            return "behind"
        there = self.top.seq - first + 1
        if self.ended:
            return "ok" if texts[-1:] == [END] and there == len(texts) else "ended"
        self.rows += [(Position(fence.epoch, first + n), text) for n, text in enumerate(texts) if n >= there]
        self.alive = True
        return "ok"


@dataclass
class Rival:
    """A writer with all that it has ever said under its claim: what it may say again after a loss."""

    writer: Writer
    first: int
    held: list[str] = field(default_factory=list[str])

    @property
    def done(self) -> bool:
        """It has said its last word."""
        return self.held[-1:] == [END]


@dataclass
class Reader:
    """A follower and what it has."""

    follower: Follower
    got: list[tuple[Position, str]]


def shown(event: Event) -> str:
    """An entry as the model writes it."""
    if isinstance(event, TERMINAL_TYPES):
        return END
    return event.text if isinstance(event, TextDelta) else "<created>"


class Failovers(RuleBasedStateMachine):
    """Everything may happen in any order; only the clock of the server moves on."""

    url: str | None = None
    own_settings = Settings(key_prefix="model")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        client = connect(self.url) if self.url else cast("Redis", FakeAsyncRedis(server=FakeServer()))
        self.store = Store.on(client, self.own_settings)
        self.generation = self.run(self.store.submit())
        first = self.places()
        self.model = Expected(first, first[0][0].epoch)
        self.rivals: list[Rival] = []
        self.readers = [Reader(Follower(), [])]
        self.memory: tuple[Snapshot, Expected] | None = None
        self.remember()

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        """One step of the machine."""
        return self.runner.run(step)

    def teardown(self) -> None:
        """Close the connections of this run."""
        self.run(self.store.redis.aclose())
        self.runner.close()

    def places(self) -> list[tuple[Position, str]]:
        """The log as the server has it."""
        rows = self.run(self.store.rows(self.generation))
        return [(Position(*map(int, place.split("-"))), shown(event)) for place, event in rows]

    def tick(self) -> None:
        """Go on behind the millisecond of the last claim, as every failover and takeover does."""
        latest = max([self.model.epoch, *(rival.writer.fence.epoch for rival in self.rivals)])
        while self.run(self.store.jobs.now_ms()) <= latest:
            pass

    def write(self, rival: Rival, first: int, texts: list[str]) -> AppendReply:
        """Append or end, and compare the answer."""
        if texts[-1:] == [END]:
            reply = self.run(rival.writer.end(*texts[:-1], first=first))
        else:
            reply = self.run(rival.writer.append(*(TextDelta(0, text) for text in texts), first=first))
        assert reply.kind == self.model.take(rival.writer.fence, first, texts)
        if reply.kind == "behind":
            assert reply.top == self.model.top
        elif reply.kind == "ok" and texts[-1:] != [END]:
            assert reply.cancel == self.model.cancel
        return reply

    @rule(lapse=st.booleans(), keep=st.booleans())
    def claim(self, lapse: bool, keep: bool) -> None:
        """Granted only where no lease lives and the log has not ended; the epoch is above all there ever were."""
        self.tick()
        if lapse and self.model.alive:
            self.run(self.store.lapse(self.generation))
            self.model.alive = False
        name = f"owner{len(self.rivals)}"
        granted = self.run(self.store.claim(self.generation, name, max_attempts=1000))
        if self.model.ended or self.model.alive:
            assert isinstance(granted, Refusal)
            assert granted.kind == ("ended" if self.model.ended else "busy")
            return
        assert isinstance(granted, Claim)
        assert granted.top == self.model.top
        assert granted.epoch > max([self.model.epoch, *(rival.writer.fence.epoch for rival in self.rivals)])
        writer = Writer(self.store, self.generation, Fence(name, granted.epoch), granted.top.seq + 1)
        self.rivals.append(Rival(writer, writer.next_seq))
        self.model.owner, self.model.epoch, self.model.alive = name, granted.epoch, True
        if keep:
            self.remember()

    @precondition(lambda self: self.rivals)
    @rule(texts=said, keep=st.booleans())
    def go_on(self, texts: list[str], keep: bool) -> None:
        """The newest owner writes on; perhaps a replica has come so far."""
        self.say(texts, ending=1, pick=0, again=0)
        if keep:
            self.remember()

    @precondition(lambda self: self.rivals)
    @rule(texts=said, ending=st.integers(0, 9), pick=st.integers(0, 2), again=st.integers(0, 3))
    def say(self, texts: list[str], ending: int, pick: int, again: int) -> None:
        """Anyone who ever had a claim writes on, from up to three entries back; who lost a tail says it again."""
        rival = self.rivals[-1 - min(pick, len(self.rivals) - 1)]
        new = [] if rival.done else [*texts, *([END] if ending == 0 else [])]
        again = min(again, len(rival.held))
        first = rival.first + len(rival.held) - again
        whole = [*rival.held, *new]
        reply = self.write(rival, first, whole[first - rival.first :])
        if reply.kind == "behind" and reply.top and reply.top.seq + 1 >= rival.first:
            start = reply.top.seq + 1
            reply = self.write(rival, start, whole[start - rival.first :])
        if reply.kind == "ok":
            rival.held = whole

    @rule(sure=st.integers(0, 5))
    def cancel(self, sure: int) -> None:
        """Asks the owner who lives; ends the log where there is none. Rarely: what has ended has little to show."""
        if sure != 5:
            return
        self.tick()
        outcome = self.run(self.store.jobs.cancel(self.generation, "client"))
        if self.model.ended:
            assert outcome == "ended"
        elif self.model.alive:
            assert outcome == "asked"
            self.model.cancel = "client"
        else:
            assert outcome == "cancelled"
            end, _ = self.places()[-1]
            assert end.epoch > self.model.epoch
            assert end.seq == self.model.top.seq + 1
            self.model.rows.append((end, END))
            self.model.owner, self.model.epoch = "", end.epoch

    def remember(self) -> None:
        """What a replica holds that comes no further."""
        self.memory = self.run(take(cast("Broker", self.store), self.generation)), deepcopy(self.model)

    @precondition(lambda self: self.memory is not None)
    @rule(texts=said)
    def fail_over(self, texts: list[str]) -> None:
        """That replica is promoted: the rest is lost, and the newest owner soon learns of it."""
        self.tick()
        assert self.memory is not None
        snapshot, model = self.memory
        self.run(restore(cast("Broker", self.store), self.generation, snapshot))
        self.model = deepcopy(model)
        if self.rivals and texts:
            self.go_on(texts, keep=False)

    @rule(at=st.integers(0, 30))
    def join(self, at: int) -> None:
        """A reader comes that has a part already."""
        got = self.model.rows[:at]
        self.readers = [*self.readers[-3:], Reader(Follower(got[-1][0] if got else START), got)]

    @rule(pick=st.integers(0, 3), limit=st.integers(1, 5), patient=st.booleans())
    def read(self, pick: int, limit: int, patient: bool) -> None:
        """Whatever is handed out, the reader has the beginning of the log as it stands; what it can't have is reset."""
        reader = self.readers[pick % len(self.readers)]
        if reader.follower.ended:
            return
        page, _ = self.run(self.store.log.page(self.generation, reader.follower.position, limit=limit))
        step = reader.follower.on_page(page, patient=patient)
        if step.kind == "ahead":
            assert reader.follower.position > self.model.top
            return
        if step.kind == "reset":
            assert reader.got != self.model.rows[: len(reader.got)]
            reader.got = []
            return
        reader.got = [*reader.got, *((entry.position, shown(entry.event)) for entry in step.entries)]
        assert reader.got == self.model.rows[: len(reader.got)]
        assert not step.at_tail or reader.got == self.model.rows

    @invariant()
    def the_server_holds_what_the_model_holds(self) -> None:
        """Entry for entry and id for id; dense; epochs never fall; the end is last; the hash agrees."""
        rows = self.places()
        assert rows == self.model.rows
        assert [place.seq for place, _ in rows] == list(range(1, len(rows) + 1))
        assert [place.epoch for place, _ in rows] == sorted(place.epoch for place, _ in rows)
        assert [text for _, text in rows].count(END) <= 1
        held = self.run(self.store.hash(self.generation))
        assert f"{held['top']}-{held['seq']}" == str(rows[-1][0])
        assert (held["status"] in ("completed", "cancelled")) == (rows[-1][1] == END)


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("server", "examples"), [("fake", 60), ("real", 40)])
def test_failovers(server: str, examples: int, redis_server: EmbeddedServer, make_settings: MakeSettings) -> None:
    """No order of claims, appends, losses, cancels and reads makes a log or a reader that is not whole."""

    class Machine(Failovers):
        url = redis_server.url if server == "real" else None
        own_settings = make_settings()

    run_state_machine_as_test(Machine, settings=effort(max_examples=examples, stateful_step_count=40, deadline=None))
