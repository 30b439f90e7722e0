"""The job hash says what the log says: a property over whole generations. Design decision 1."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import msgspec
from fakeredis import FakeAsyncRedis, FakeServer
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from broker.events import Completed, Created, Event, Failed, Started, TextDelta, encode_entry, event_to_json
from broker.jobs import ending_head
from broker.lifecycle import advance
from broker.record import Record, Status
from broker.redis import Redis, connect
from broker.scripts import Ending
from broker.settings import Settings
from broker.values import ErrorInfo, Usage
from rejoinder.embedded import EmbeddedServer
from tests.broker.store import Store, Writer
from tests.conftest import MakeSettings
from tests.unit.strategies import content

Attempt = tuple[list[list[Any]], str]
attempts = st.lists(
    st.tuples(st.lists(st.lists(content, min_size=1, max_size=3), max_size=3), st.sampled_from(["lapse", "release"])),
    min_size=1,
    max_size=3,
)
endings = st.sampled_from(["completed", "failed", "cancelled", "none"])


async def run(store: Store, attempts: Sequence[Attempt], ending: str) -> str:
    """A generation of some attempts, each leaving the log to the next; the last one ends it."""
    generation = await store.submit(metadata={"a": "b"})
    writer: Writer | None = None
    for number, (appends, leave) in enumerate(attempts, 1):
        if writer is not None and leave == "lapse":
            await store.lapse(generation)
        elif writer is not None:
            assert await store.log.release(generation, writer.fence)
        writer = await store.own(generation, f"owner{number}")
        await writer.begin(number)
        for events in appends:
            assert (await writer.append(*events, first_token=True)).kind == "ok"
    assert writer is not None
    await finish(store, writer, ending)
    return generation


async def close(store: Store, writer: Writer, event: Completed | Failed, **fields: Any) -> None:
    """The owner's end, with last words."""
    status = "completed" if isinstance(event, Completed) else "failed"
    parts = Ending(status, ending_head(event_to_json(event)), 7, msgspec.json.encode(event.usage), **fields)
    rows = [encode_entry(TextDelta(0, "last")), encode_entry(TextDelta(0, "words"))]
    reply = await store.log.end(writer.generation, writer.fence, writer.next_seq, rows, parts, first_token=True)
    assert reply.kind == "ok"


async def finish(store: Store, writer: Writer, ending: str) -> None:
    """End the log in this way."""
    usage = Usage(input_tokens=3, output_tokens=7)
    error = ErrorInfo("provider_error", "no", True, 500)
    if ending == "completed":
        await close(store, writer, Completed("stop", usage=usage), finish_reason="stop")
    elif ending == "failed":
        await close(store, writer, Failed(error, usage=usage), error=msgspec.json.encode(error))
    elif ending == "cancelled":
        await store.lapse(writer.generation)
        assert await store.jobs.cancel(writer.generation, "deadline") == "cancelled"


def fold(rows: Sequence[tuple[str, Event]]) -> dict[str, Any]:
    """What the log alone says about its record."""
    status: Status | None = None
    said: dict[str, Any] = {
        "attempt": 0,
        "first_token": False,
        "timing": None,
        "error": None,
        "finish_reason": None,
        "usage": None,
    }
    for _, event in rows:
        status = advance(status, event)
        match event:
            case Created():
                said["model"], said["metadata"] = event.generation["model"], event.generation["metadata"]
                said["created_at"] = event.generation["created_at"]
            case Started():
                said["attempt"], said["first_token"] = event.attempt, False
            case Completed():
                said["finish_reason"], said["timing"] = event.finish_reason, event.timing
                said["usage"] = event.usage
            case Failed():
                said["error"], said["timing"] = event.error, event.timing
                said["usage"] = event.usage
            case _:
                said["timing"] = getattr(event, "timing", None)
                said["first_token"] = said["first_token"] or said["timing"] is None
    return {**said, "status": status, "last_event_id": rows[-1][0]}


def told(record: Record) -> dict[str, Any]:
    """The same, from the record."""
    names = ("attempt", "timing", "error", "finish_reason", "usage", "model", "metadata", "created_at", "status")
    values = {name: getattr(record, name) for name in names}
    return {**values, "last_event_id": record.last_event_id, "first_token": record.first_token_at is not None}


def times_in_order(record: Record) -> bool:
    """Created, started, first token, finished: each that is there is no earlier than the one before."""
    times = [record.created_at, record.started_at, record.first_token_at, record.finished_at]
    there = [time for time in times if time is not None]
    return there == sorted(there) and (record.finished_at is not None) == record.ended


async def agrees(store: Store, attempts: Sequence[Attempt], ending: str) -> None:
    """Run one generation and compare."""
    generation = await run(store, attempts, ending)
    record = await store.records.get(generation)
    assert told(record) == fold(await store.rows(generation))
    assert times_in_order(record)


@effort(max_examples=40, deadline=None)
@given(attempts, endings)
def test_the_record_is_a_fold_of_the_log(attempts: list[Attempt], ending: str) -> None:
    """Status, attempt, timing, error, reason, last id, first token: on fakeredis."""

    async def check() -> None:
        client = cast("Redis", FakeAsyncRedis(server=FakeServer()))
        try:
            await agrees(Store.on(client, Settings(key_prefix="fold")), attempts, ending)
        finally:
            await client.aclose()

    asyncio.run(check())


def test_so_it_is_on_the_real_server(redis_server: EmbeddedServer, make_settings: MakeSettings) -> None:
    """Likewise, with fewer examples."""
    settings = make_settings()

    @effort(max_examples=12, deadline=None)
    @given(attempts, endings)
    def compare(attempts: list[Attempt], ending: str) -> None:
        async def check() -> None:
            client = connect(redis_server.url)
            try:
                await agrees(Store.on(client, settings), attempts, ending)
            finally:
                await client.aclose()

        asyncio.run(check())

    compare()
