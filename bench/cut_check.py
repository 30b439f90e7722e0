"""Whether whoever is cut off behind a frame and comes back with its id is sent exactly the rest: for every format.

What should come is worked out beside the code under test: from the frames that an uncut reader gets at each stage of
the log, from the ids in them, and from the rule for void attempts (contract section 5). No server, and no event loop.
"""

from __future__ import annotations

import json
import re
from collections.abc import Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple, TypeVar, cast

from api.door import Door
from api.formats import FOLDS, FORMATS, open_format
from api.formats.base import VoidAttempt
from api.streams import open_source
from broker.events import CONTENT_TYPES, Entry, TextDelta
from broker.position import Cursor, parse_cursor
from tests.contracts.histories import KINDS, restarts, wicked, write
from tests.contracts.one_log import OneLog, submitted

NAMES = tuple(name for name in (*FORMATS, *FOLDS) if name != "sse")
_SAYS_RESTART = {"native", "ndjson", "ai-sdk"}
"""Formats with a word for an attempt that has become void."""
_SSE_ID = re.compile(rb"\A(?:retry: \d+\n)?id: (\S+)\n")
_LINE_ID = re.compile(rb'\A\{"id":"([^"]+)"')
_SEQUENCE = re.compile(rb'"sequence_number":(\d+)')
_WHOLE = 1 << 30
"""The number behind every frame of an entry: an id without a part stands behind all of them."""

T = TypeVar("T")


class Place(NamedTuple):
    """Where a frame ends: the entry's number, and which frame of it."""

    seq: int
    part: int


class Served(NamedTuple):
    """What was written for one reader, and whether it was broken off then."""

    frames: list[bytes]
    broken: bool


@dataclass(slots=True)
class Tally:
    """What was tried, and the first of what went wrong."""

    logs: int = 0
    cuts: int = 0
    resumes: int = 0
    voids: int = 0
    """Resumes that had to end with the error and a break."""
    differences: int = 0
    first: str = ""

    def add(self, other: Tally) -> None:
        """Both together."""
        for name in ("logs", "cuts", "resumes", "voids", "differences"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.first = self.first or other.first


def random_log(seed: int, number: int) -> list[Entry]:
    """One log of the kind that the contract's tests look at, from its number alone."""
    dice = Random(f"{seed}:{number}")

    def text() -> str:
        if dice.random() < 0.5:
            return dice.choice(wicked)
        ends = ((0x20, 0x7E), (0xA0, 0x2FF), (0x2010, 0x2040), (0x4E00, 0x4E40), (0x1F600, 0x1F640))
        return "".join(chr(dice.randint(*dice.choice(ends))) for _ in range(dice.randint(0, 6)))

    def pieces() -> list[tuple[int, str, int]]:
        return [(dice.randrange(len(KINDS)), text(), dice.randint(0, 3)) for _ in range(dice.randint(0, 8))]

    plan = [
        (dice.choice(("restart", "restart", "continue")), dice.randint(0, 1), pieces(), dice.randint(0, 2))
        for _ in range(dice.randint(0, 3))
    ]
    return write(plan, dice.choice(("completed", "completed", "failed", "cancelled", "erased", None)))


def serve(name: str, log: list[Entry], cursor: Cursor, replayed: int, pieces: Sequence[int] = ()) -> Served:
    """What a reader at ``cursor`` is sent, of whose log ``replayed`` entries are there and the rest comes live."""

    async def read() -> Served:
        fmt, frames = open_format(name, cursor, merged=False), list[bytes]()
        door = cast("Door", OneLog(log, replayed, pieces, submitted(log)))
        try:
            async with aclosing(open_source(door, "", cursor, fmt, tenant="", replay="exact")(None)) as items:
                async for item in items:
                    frames += fmt.frames(item)
        except VoidAttempt as void:
            return Served(frames + void.frames, broken=True)
        return Served(frames, broken=False)

    return _now(read())


def _now(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of what waits for nothing but its turn."""
    while True:
        try:
            coroutine.send(None)
        except StopIteration as end:
            return cast("T", end.value)


def place(frame: bytes) -> Place | None:
    """Where a frame ends; None = it belongs to no entry."""
    found = _SSE_ID.match(frame) or _LINE_ID.match(frame)
    if found is None:
        return None
    seq, _, part = found[1].decode().partition("-")[2].partition(".")
    return Place(int(seq), int(part) if part else _WHOLE)


class Oracle:
    """What readers of one log should be sent."""

    def __init__(self, name: str, log: list[Entry]) -> None:
        self.name = name
        self.log = log
        self._says = name in _SAYS_RESTART
        voiding = [entry.position.seq for entry in log if restarts(entry)]
        self.stages = sorted({*(seq - 1 for seq in voiding[1:] if not self._says), len(log)})
        """How far the log had come when somebody was cut off: before each attempt that voids one, and at the end."""
        self.seen = {stage: self._at(stage) for stage in self.stages}
        self._voiding = [0, *voiding]
        self.frames: dict[int, list[bytes]] = {}
        """Of every entry, as the reader was sent them who was there before they became void."""
        for stage in reversed(self.stages):
            last = max(seq for seq in self._voiding if seq <= stage)
            mine: dict[int, list[bytes]] = {}
            for frame in self.seen[stage]:
                at = place(frame)
                if at is not None:
                    mine.setdefault(at.seq, []).append(frame)
            for seq in mine.keys() & self.frames.keys():
                assert seq >= last or mine[seq] == self.frames[seq], "what is no content is the same for everybody"
            self.frames |= {seq: frames for seq, frames in mine.items() if seq >= last or seq not in self.frames}

    def _at(self, stage: int) -> list[bytes]:
        served = serve(self.name, self.log[:stage], Cursor(), stage)
        assert not served.broken, "whoever comes first holds nothing"
        return [frame for frame in served.frames if place(frame) is not None]

    def holds(self, at: Place) -> bool:
        """Whether a reader who stands there has been sent content of the attempt that stood then."""
        begun = max(seq for seq in self._voiding if seq <= at.seq)
        return any(self._content(seq) for seq in range(begun + 1, at.seq + 1))

    def _content(self, seq: int) -> bool:
        return bool(self.frames.get(seq)) and isinstance(self.log[seq - 1].event, CONTENT_TYPES)

    def rest(self, at: Place, replayed: int) -> tuple[list[bytes], bool]:
        """The frames behind a place for whoever comes back when ``replayed`` entries are there; True = then the break.

        Of an attempt that is void when the reader comes, nothing is sent but what is no content.
        """
        void = 0 if self._says else max(seq for seq in self._voiding if seq <= replayed)
        held = not self._says and self.holds(at)
        if held and void > at.seq:
            return [], True
        frames: list[bytes] = []
        for seq in range(at.seq, len(self.log) + 1):
            if seq > at.seq and seq in self._voiding and not self._says:
                if held:
                    return frames, True
                held = False
            mine = [frame for frame in self.frames.get(seq, []) if cast("Place", place(frame)) > at]
            if mine and self._content(seq):
                if seq < void:
                    continue
                held = True
            frames += mine
        return frames, False


def check(name: str, log: list[Entry], dice: Random, tally: Tally) -> None:
    """All cuts of one log, at every stage of it: who comes back when all is written, and at any time before."""
    tally.logs += 1
    try:
        if name == "text":
            _check_text(log, dice, tally)
        else:
            _check_frames(Oracle(name, log), dice, tally)
    except AssertionError as error:
        tally.differences += 1
        tally.first = tally.first or f"{name}: {error}: {log}"


def _check_frames(oracle: Oracle, dice: Random, tally: Tally) -> None:
    log = oracle.log
    for stage in oracle.stages:
        for number, frame in enumerate(oracle.seen[stage]):
            at = cast("Place", place(frame))
            if stage != len(log) and not oracle.holds(at):
                continue
            tally.cuts += 1
            if stage == len(log):
                # The property itself, without the oracle's rule.
                assert oracle.rest(at, stage) == (oracle.seen[stage][number + 1 :], False), at
            for replayed in (len(log), dice.randint(at.seq, len(log))):
                _resume(oracle, frame, at, replayed, dice, tally)


def _resume(oracle: Oracle, frame: bytes, at: Place, replayed: int, dice: Random, tally: Tally) -> None:
    expected, breaks = oracle.rest(at, replayed)
    found = _SSE_ID.match(frame) or _LINE_ID.match(frame)
    assert found is not None
    pieces = [dice.randint(0, len(oracle.log)) for _ in range(dice.randint(0, 3))]
    served = serve(oracle.name, oracle.log, parse_cursor(found[1].decode()), replayed, pieces)
    frames = [each for each in served.frames if place(each) is not None]
    others = [each for each in served.frames if place(each) is None]
    tally.resumes += 1
    tally.voids += breaks
    right = (frames, served.broken) == (expected, breaks)
    if not right or not (_is_error(others, frames or oracle.frames[at.seq]) if breaks else not _foreign(others)):
        tally.differences += 1
        tally.first = tally.first or f"{oracle.name}: behind {at} of {oracle.log}, {replayed} there: {served}"


def _check_text(log: list[Entry], dice: Random, tally: Tally) -> None:
    """Readers of text know no ids: whoever gives them a position gives them that of an entry."""
    for at in range(1, len(log) + 1):
        tally.cuts += 1
        for replayed in (len(log), dice.randint(at, len(log))):
            held, breaks, rest = False, False, ""
            void = max((entry.position.seq for entry in log[:replayed] if restarts(entry)), default=0)
            for entry in log:
                seq, said = entry.position.seq, isinstance(entry.event, TextDelta) and entry.event.text
                if restarts(entry):
                    breaks = seq > at and held
                    held = False
                if breaks:
                    break
                if said and seq <= at:
                    held = True
                elif said and seq > void:
                    rest, held = rest + said, True
            # One by one: what becomes void in the same batch is not sent, and breaks nothing off.
            served = serve("text", log, Cursor(log[at - 1].position), replayed, range(len(log)))
            tally.resumes += 1
            tally.voids += breaks
            if (b"".join(served.frames).decode(), served.broken) != (rest, breaks):
                tally.differences += 1
                tally.first = tally.first or f"text: behind {at} of {log}, {replayed} there: {served}"


def _foreign(others: list[bytes]) -> list[bytes]:
    """What belongs to no entry and is not the word that the reader is at the tail."""
    return [each for each in others if b"stream.live" not in each]


def _is_error(others: list[bytes], frames: Sequence[bytes]) -> bool:
    """Behind these frames one more, and in the client's own words an error that says why."""
    told = _foreign(others)
    if len(told) != 1 or not told[0].endswith(b"\n\n"):
        return False
    data = json.loads(told[0].partition(b"data: ")[2])
    # A numbered error goes on from the last frame of the entry that the reader has, or has a part of.
    last = _SEQUENCE.search(frames[-1])
    goes_on = last is None or data["sequence_number"] == int(last[1]) + 1
    return goes_on and "void" in data["error"]["message"]
