"""Reading a generation through the broker's door, recorded for the history checker."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Generator
from contextlib import aclosing, contextmanager
from typing import Any, Literal
from unittest.mock import patch

from broker.client import Broker
from broker.events import Entry, event_to_json
from broker.position import START, Position
from broker.request import GenerationRequest
from broker.tail_items import Batch, Live, Reset
from tests.support.history import Seen, Viewer


def request(tokens: int = 40, rate: float = 200.0, *, prompt: str = "Tell me.", **fields: Any) -> GenerationRequest:
    """A demo generation; further demo options under ``options``, other fields as keywords."""
    options = {"tokens": tokens, "rate": rate, **fields.pop("options", {})}
    return GenerationRequest(model="demo/demo-1", input=prompt, provider_options=options, **fields)


@contextmanager
def held_before(token: int) -> Generator[asyncio.Event]:
    """Demos that begin inside wait before this token until the event is set: however slow the test, none is over."""
    go_on = asyncio.Event()
    tokens = itertools.count()

    async def wait(_self: object) -> None:
        if next(tokens) >= token:
            await go_on.wait()

    with patch("worker.providers.demo._Pace.next", wait):
        yield go_on


@contextmanager
def stepped(size: int) -> Generator[asyncio.Semaphore]:
    """A demo that begins inside says so many tokens, and so many more for each release."""
    steps = asyncio.Semaphore(1)
    tokens = itertools.count()

    async def wait(_self: object) -> None:
        if next(tokens) % size == 0:
            await steps.acquire()

    with patch("worker.providers.demo._Pace.next", wait):
        yield steps


def seen(entry: Entry) -> Seen:
    """An entry as a client would see it."""
    return Seen(str(entry.position), json.loads(event_to_json(entry.event)))


async def read(
    broker: Broker,
    generation: str,
    after: Position = START,
    *,
    replay: Literal["merged", "exact"] = "exact",
    stop_after: int | None = None,
    viewer: Viewer | None = None,
) -> Viewer:
    """Read to the end, or until ``stop_after`` more events; goes on in ``viewer`` where one is given."""
    viewer = viewer or Viewer("reader", generation)
    taken = 0
    async with aclosing(broker.tail(generation, after, replay=replay)) as items:
        async for item in items:
            match item:
                case Live():
                    viewer.seen.append(Seen(None, {"type": "stream.live"}))
                case Reset():
                    viewer.seen.append(Seen(None, {"type": "stream.reset"}))
                case Batch(entries=entries):
                    for entry in entries:
                        viewer.seen.append(seen(entry))
                        taken += 1
                        if stop_after is not None and taken >= stop_after:
                            return viewer
    viewer.clean_ends += 1
    return viewer


def events(viewer: Viewer) -> list[str]:
    """The types a viewer saw, without deltas and ``stream.live``."""
    return [s.kind for s in viewer.seen if not s.kind.endswith("delta") and s.kind != "stream.live"]


def last_position(viewer: Viewer) -> Position:
    """Where a viewer stands."""
    return next((Position(*s.position) for s in reversed(viewer.seen) if s.id is not None), START)
