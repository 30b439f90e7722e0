"""What every wire format owes its clients, as a suite: subclass it and say how its client reads.

A format is a pure fold over the log, so all of it is proved over generated logs, without a server. Whatever composes a
stream (``api.streams.open_source``) is part of what is tested.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.door import Door, Replay
from api.formats import open_format
from api.formats.base import Format, VoidAttempt
from api.streams import open_source
from broker.events import Entry
from broker.position import START, Cursor, Position, parse_cursor
from broker.submission import Submission
from tests.contracts.histories import ended_logs, logs, restarts
from tests.contracts.one_log import OneLog, submitted
from tests.contracts.stage import Said, claims_all, said

# Each format is its own subclass, and each runs the same properties: the inherited method has several executors.
effort = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.differing_executors])
CURSOR = Cursor()
cuts = st.lists(st.integers(0, 40), max_size=4)


@dataclass(frozen=True)
class Told:
    """One thing a client is told; ``wire`` = it exists only on the wire and belongs to no entry."""

    id: str | None
    value: Any
    wire: bool = False


@dataclass
class Served:
    """What was written for one reader; ``broken`` = and then broken off."""

    frames: list[bytes] = field(default_factory=list[bytes])
    broken: bool = False

    @property
    def body(self) -> bytes:
        """All of it."""
        return b"".join(self.frames)


class FormatStage(ABC):
    """One format and its client."""

    name: ClassVar[str]
    has_ids: ClassVar[bool] = True
    """Its frames carry ids, from which a client resumes by itself."""
    says_restart: ClassVar[bool] = True
    """It has a word for a restart; otherwise whoever holds a void attempt is broken off."""

    def make(self, cursor: Cursor = CURSOR, replay: Replay = "exact") -> Format:
        """The format, for one reader."""
        return open_format(self.name, cursor, merged=replay == "merged")

    def asked(self, log: list[Entry]) -> Submission:
        """What was asked for."""
        return submitted(log)

    @abstractmethod
    def read(self, chunks: Iterable[bytes]) -> list[Told]:
        """What a client reads in a body that arrives in these chunks. Not with the code under test."""

    @abstractmethod
    def answer(self, told: Iterable[Told]) -> Any:
        """What the client is left with in the end."""

    @abstractmethod
    def expected(self, whole: Said) -> Any:
        """What it should be left with, of what the log says."""

    def ends(self, told: Told) -> bool:
        """Whether this tells the end of the generation."""
        del told
        return False

    def holds(self, first: Served) -> bool:
        """Whether a reader who was served this holds a part of the attempt that stood then."""
        return bool(first.body)

    def serve(
        self,
        log: list[Entry],
        after: Position | Cursor = START,
        *,
        replay: Replay = "exact",
        replayed: int | None = None,
        pieces: Sequence[int] = (),
    ) -> Served:
        """What a reader at ``after`` gets."""
        cursor = Cursor(after) if isinstance(after, Position) else after
        there = len(log) if replayed is None else min(replayed, len(log))
        door = cast("Door", OneLog(log, there, pieces, self.asked(log)))
        return asyncio.run(_write(door, cursor, self.make(cursor, replay), replay))

    def resume(self, log: list[Entry], told: Sequence[Told], replay: Replay = "exact") -> Served:
        """What a client gets that has been told this and then was cut off."""
        ids = [one.id for one in told if one.id is not None]
        return self.serve(log, parse_cursor(ids[-1]) if ids else START, replay=replay)


async def _write(door: Door, after: Cursor, fmt: Format, replay: Replay) -> Served:
    served = Served()
    try:
        async with aclosing(open_source(door, "", after, fmt, tenant="", replay=replay)(None)) as items:
            async for item in items:
                served.frames += fmt.frames(item)
    except VoidAttempt as void:
        served.frames += void.frames
        served.broken = True
    return served


def visible(told: Iterable[Told]) -> list[Told]:
    """What comes of entries."""
    return [one for one in told if not one.wire]


@pytest.mark.timeout(180)
class FormatContract:
    """The suite. A subclass names its ``stage``."""

    stage: ClassVar[FormatStage]
    exceptions: ClassVar[dict[str, str]] = {}
    """Rules that this format does not claim to keep: test name -> reason."""

    @pytest.fixture(autouse=True)
    def _exceptions(self, request: pytest.FixtureRequest) -> None:
        claims_all(request, self.exceptions)

    def told(self, *served: Served) -> list[Told]:
        """What a client reads in these bodies, one connection after the other."""
        return [one for each in served for one in self.stage.read([each.body])]

    @effort
    @given(logs, logs, st.integers(0, 40), cuts)
    def test_the_same_log_gives_the_same_bytes(
        self, log: list[Entry], other: list[Entry], replayed: int, pieces: list[int]
    ) -> None:
        """Whatever was served to whom before."""
        first = self.stage.serve(log, replayed=replayed, pieces=pieces)
        self.stage.serve(other)
        again = self.stage.serve(log, replayed=replayed, pieces=pieces)
        assert (first.frames, first.broken) == (again.frames, again.broken)

    @effort
    @given(logs)
    def test_what_a_client_is_left_with_is_what_the_log_says(self, log: list[Entry]) -> None:
        """Exact or merged."""
        for replay in ("exact", "merged"):
            told = self.told(self.stage.serve(log, replay=replay))
            assert self.stage.answer(told) == self.stage.expected(said(log))

    @effort
    @given(logs, st.integers(0, 40), cuts)
    def test_live_and_replayed_are_the_same(self, log: list[Entry], replayed: int, pieces: list[int]) -> None:
        """However the log comes in; a reader who was sent a void attempt may be broken off instead."""
        served = self.stage.serve(log, replayed=replayed, pieces=pieces)
        if served.broken:
            assert not self.stage.says_restart
            assert any(map(restarts, log[replayed:]))
        else:
            assert visible(self.told(served)) == visible(self.told(self.stage.serve(log)))

    @effort
    @given(logs)
    def test_a_cut_behind_any_entry_loses_nothing_and_doubles_nothing(self, log: list[Entry]) -> None:
        """What comes before and what comes after are together what an uncut reader is told."""
        whole = visible(self.told(self.stage.serve(log)))
        for at in range(1, len(log) + 1):
            first = self.stage.serve(log[:at])
            rest = self.stage.serve(log, log[at - 1].position)
            void = not self.stage.says_restart and self.stage.holds(first) and any(map(restarts, log[at:]))
            assert (first.broken, rest.broken) == (False, void)
            if not void:
                assert visible(self.told(first, rest)) == whole

    @effort
    @given(logs, st.sampled_from(["exact", "merged"]))
    def test_a_cut_behind_any_frame_is_resumed_by_its_id(self, log: list[Entry], replay: Replay) -> None:
        """A client that knows nothing but the ids it got, cut again and again."""
        if not self.stage.has_ids:
            pytest.skip("a client of this format has no position of its own")
        whole = self.stage.serve(log, replay=replay)
        for at in range(len(whole.frames) + 1):
            before = self.told(Served(whole.frames[:at]))
            rest = self.stage.resume(log, before, replay)
            told = visible([*before, *self.told(rest)])
            assert self.stage.answer(told) == self.stage.expected(said(log))
            if replay == "exact":
                assert told == visible(self.told(whole))

    @effort
    @given(logs, st.integers(0, 40), st.lists(st.integers(0, 3000), max_size=6))
    def test_frames_are_whole_and_any_chunks_are_read(self, log: list[Entry], replayed: int, marks: list[int]) -> None:
        """Each frame can be read by itself; where the body is torn on its way does not matter."""
        served = self.stage.serve(log, replayed=replayed)
        whole = self.stage.read([served.body])
        assert [one.value for frame in served.frames for one in self.stage.read([frame])] == [o.value for o in whole]
        edges = sorted({0, *(min(mark, len(served.body)) for mark in marks), len(served.body)})
        assert self.stage.read(served.body[start:stop] for start, stop in pairwise(edges)) == whole
        assert self.stage.read(served.body[n : n + 1] for n in range(len(served.body))) == whole

    @effort
    @given(logs, st.integers(0, 40))
    def test_heartbeats_and_preamble_tell_nothing_of_the_log(self, log: list[Entry], replayed: int) -> None:
        """Wherever they stand between frames."""
        served = self.stage.serve(log, replayed=replayed)
        fmt = self.stage.make()
        beaten = [fmt.heartbeat, fmt.preamble(1000), *(part for f in served.frames for part in (f, fmt.heartbeat))]
        told = self.stage.read([b"".join(beaten)])
        assert visible(told) == visible(self.told(served))

    @effort
    @given(logs)
    def test_what_is_only_on_the_wire_moves_no_cursor(self, log: list[Entry]) -> None:
        """A live log says ``stream.live``, a foreign position ``stream.reset``: neither has an id."""
        for after in (START, Position(5, 3)):
            served = self.stage.serve(log, after, replayed=len(log) // 2)
            told = self.told(served)
            assert [one.id for one in told if one.wire] == [None for one in told if one.wire]
            # Who comes from another log may hold anything: without a word to void it, there is nothing to tell.
            assert served.broken or after == START or self.stage.says_restart
            if not served.broken:
                assert visible(told) == visible(self.told(self.stage.serve(log)))

    @effort
    @given(ended_logs)
    def test_nothing_follows_the_end(self, log: list[Entry]) -> None:
        """It is told once and last, and not before it is there; whoever has it gets nothing more."""
        before = self.told(self.stage.serve(log[:-1]))
        told = self.told(self.stage.serve(log))
        assert not any(map(self.stage.ends, before))
        assert told[:-1] == visible(told)[:-1]
        if self.stage.has_ids:
            assert [self.stage.ends(one) for one in told] == [False] * (len(told) - 1) + [True]
        assert self.stage.serve(log, log[-1].position).frames == []
