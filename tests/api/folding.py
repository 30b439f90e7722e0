"""What one reader is sent who comes when all is written: frames of a fold, without ids and void attempts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from api.formats.base import Fold
from broker.content import ContentFold
from broker.events import Created, Entry, Event, Started, Terminal
from broker.position import Position
from broker.request import StoredRequest, Wire
from broker.submission import Submission
from tests.contracts.histories import attempts, write
from tests.support.whatwg import parse

completed_logs = st.builds(write, st.lists(attempts, min_size=1, max_size=3), st.just("completed"))


def submission(wire: Wire | None = None) -> Submission:
    """A generation, asked for in this dialect."""
    request = StoredRequest(model="m1", input="hi", wire=wire)
    return Submission("gen_1", "m1", 1_760_000_000.9, {}, request)


def numbered(events: Iterable[Event]) -> list[Entry]:
    """The entries of a log."""
    return [Entry(Position(1, seq), event) for seq, event in enumerate(events, 1)]


def frames_of(fold: Fold[Any], log: Iterable[Entry]) -> list[bytes]:
    """Every frame that is not of a void attempt."""
    state = fold.start()
    opening: list[bytes] = []
    content: list[bytes] = []
    for entry in log:
        state, frames = fold.step(state, entry)
        if isinstance(entry.event, Created):
            opening += frames
        elif isinstance(entry.event, Started) and entry.event.mode == "restart":
            content = frames
        else:
            content += frames
    return [*opening, *content]


def data_of(frames: Iterable[bytes]) -> list[str]:
    """What a client of server-sent events is told, frame by frame."""
    told: list[str] = []
    for frame in frames:
        (event,) = parse(frame)
        told.append(event.data)
    return told


def answer_of(log: Iterable[Entry]) -> ContentFold:
    """The blocks of the answer."""
    content = ContentFold()
    for entry in log:
        content.apply(entry.event)
    return content


def end_of(log: list[Entry]) -> Terminal:
    """How the log ends; it must have ended."""
    event = log[-1].event
    assert isinstance(event, Terminal)
    return event


def built_content(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a client of Anthropic builds up, with none of our code; each block is ended once and then left alone."""
    content: list[dict[str, Any]] = []
    open_blocks: dict[int, str] = {}
    for frame in frames:
        index = frame.get("index", -1)
        match frame["type"]:
            case "content_block_start":
                assert index == len(content)
                content.append(dict(frame["content_block"]))
                open_blocks[index] = ""
            case "content_block_delta":
                kind, (field, piece) = frame["delta"]["type"], list(frame["delta"].items())[1]
                if kind == "input_json_delta":
                    open_blocks[index] += piece
                else:
                    assert index in open_blocks
                    content[index][field] += piece
            case "content_block_stop":
                arguments = open_blocks.pop(index)
                content[index] |= {"input": json.loads(arguments)} if arguments else {}
            case "message_delta":
                assert open_blocks == {}
            case _:
                pass
    return content
