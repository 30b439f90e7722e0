"""What the tests of the Responses wire share: a log told by the fold alone, without a server."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from api.formats.openai_responses import ResponsesFold, State
from broker.content import ContentFold
from broker.events import CONTENT_TYPES, TERMINAL_TYPES, Entry, Event, Terminal
from broker.position import Position
from broker.record import Status
from broker.request import StoredRequest, Wire
from broker.submission import Submission
from tests.contracts.histories import EPOCH, GENERATION, restarts
from tests.support.whatwg import parse

SUBMISSION = Submission(GENERATION, "m1", EPOCH / 1000)


def asked(**echo: Any) -> Submission:
    """A submission in this dialect that has these fields to repeat."""
    wire = Wire(dialect="openai.responses", echo=echo)
    request = StoredRequest(model="m1", input="hi", wire=wire)
    return Submission(GENERATION, "m1", EPOCH / 1000, request=request)


def log_of(*events: Event) -> list[Entry]:
    """The log of these events."""
    return [Entry(Position(7, seq), event) for seq, event in enumerate(events, 1)]


def steps(log: Iterable[Entry], submission: Submission = SUBMISSION) -> list[tuple[Entry, State, list[bytes]]]:
    """Each entry with the state behind it and its frames."""
    fold = ResponsesFold(submission)
    state, told = fold.start(), list[tuple[Entry, State, list[bytes]]]()
    for entry in log:
        state, frames = fold.step(state, entry)
        told.append((entry, state, frames))
    return told


def standing(log: list[Entry], submission: Submission = SUBMISSION) -> list[bytes]:
    """What a reader gets who comes when all of it is there: the frames without void content."""
    last = max((at for at, entry in enumerate(log) if restarts(entry)), default=0)
    return [
        frame
        for at, (entry, _, frames) in enumerate(steps(log, submission))
        for frame in frames
        if at >= last or not isinstance(entry.event, CONTENT_TYPES)
    ]


def read(frames: Iterable[bytes]) -> list[dict[str, Any]]:
    """The events of the frames; each is named by its type."""
    events: list[dict[str, Any]] = []
    for frame in parse(b"".join(frames)):
        value = json.loads(frame.data)
        assert frame.type == value["type"]
        events.append(value)
    return events


def known(log: Iterable[Entry]) -> dict[str, Any]:
    """What a GET would know of a log, by keyword."""
    fold, terminal = ContentFold(), list[Terminal]()
    status: Status = "queued"
    for _, event in log:
        fold.apply(event)
        status = "running" if fold.attempt else status
        terminal += [event] if isinstance(event, TERMINAL_TYPES) else []
    end = terminal[0] if terminal else None
    whose = {"provider": fold.provider, "attempt": fold.attempt}
    return {"blocks": fold.blocks(), "status": status, "terminal": end, **whose}
