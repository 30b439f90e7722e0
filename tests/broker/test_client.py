"""The door's own work: two servers, the fleet's counters, and outputs of logs longer than a page."""

from __future__ import annotations

from typing import Any, cast

import pytest

from broker.client import Broker
from broker.errors import GenerationNotFound, LogUnavailable
from broker.events import TextDelta
from broker.log import PAGE_ENTRIES
from broker.position import START, Position
from broker.record import Record
from broker.redis import connect
from broker.scripts import Ending
from rejoinder.embedded import EmbeddedServer
from tests.broker.store import Store
from tests.conftest import MakeSettings
from tests.integration.reading import request
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration


async def clients(server: EmbeddedServer, *, db: int) -> int:
    """Connections that have this database open."""
    looking = cast("Any", connect(server.url, size=1))
    try:
        return sum(client["db"] == str(db) for client in await looking.client_list())
    finally:
        await looking.aclose()


async def test_the_queue_may_have_a_server_of_its_own(
    redis_server: EmbeddedServer, make_settings: MakeSettings
) -> None:
    """Jobs wait there and only there; both servers must answer, and both clients are closed."""
    other = f"{redis_server.url.rpartition('/')[0]}/1"
    async with Broker(make_settings(queue_url=other)) as broker:
        made = await broker.submit(request())
        await broker.ping()
        assert await broker.queue_length() == 1
        assert await broker.redis.zcard(broker.keys.queue) == 0
        assert await broker.queue_redis.zcard(broker.keys.queue) == 1
        await broker.cancel(made.record.id)
        assert await broker.queue_length() == 0
        assert await clients(redis_server, db=1) > 0

    async def closed() -> bool:
        return await clients(redis_server, db=1) == 0

    await wait_until(closed)


async def test_ping_asks_both_servers(make_settings: MakeSettings) -> None:
    """A queue that is away is as bad as a log that is away."""
    async with Broker(make_settings(queue_url="redis://127.0.0.1:1/0")) as broker:
        assert await broker.now_ms() > 1_700_000_000_000
        with pytest.raises(LogUnavailable):
            await broker.ping()


async def test_every_generation_is_counted_once(broker: Broker) -> None:
    """By whoever ended it: a delete counts what runs and not what has ended; a second cancel counts nothing."""
    made = [(await broker.submit(request())).record.id for _ in range(3)]
    await broker.cancel(made[0])
    await broker.cancel(made[0])
    await broker.delete(made[0])
    assert (await broker.fleet_stats()).generations == {"cancelled": 1}
    await broker.delete(made[1])
    assert (await broker.fleet_stats()).generations == {"cancelled": 2}
    await broker.count_ended(made[2])
    await broker.count_ended("gen_nobody")
    assert (await broker.fleet_stats()).generations == {"cancelled": 2}


async def test_what_has_no_usage_and_no_first_token_is_counted_too(broker: Broker) -> None:
    """The sums hold what was reported; what was not leaves them alone."""
    store = Store.on(broker.redis, broker.settings)
    writer = await store.own(await store.submit())
    await writer.begin()
    head = b'{"type":"generation.failed","error":{"code":"x","message":"x"}'
    await store.log.end(writer.generation, writer.fence, writer.next_seq, [], Ending("failed", head))
    await broker.count_ended(writer.generation, kept=False)
    stats = await broker.fleet_stats()
    assert (stats.generations, stats.output_tokens, stats.ttft_count, stats.unconfirmed) == ({"failed": 1}, 0, 0, 1)


@pytest.mark.parametrize("words", [PAGE_ENTRIES - 2, PAGE_ENTRIES - 1, PAGE_ENTRIES, 2 * PAGE_ENTRIES + 3])
async def test_outputs_go_past_a_page(broker: Broker, words: int) -> None:
    """Also where the log ends exactly with a page; up to any moment, and no further."""
    store = Store.on(broker.redis, broker.settings)
    writer = await store.own(await store.submit())
    await writer.begin()
    await writer.say(*(f"{n} " for n in range(words)))
    record = await broker.get(writer.generation)
    assert record.output is not None
    assert record.output.text == "".join(f"{n} " for n in range(words))
    rows = await store.rows(writer.generation)
    for at in (1, PAGE_ENTRIES - 1, PAGE_ENTRIES, PAGE_ENTRIES + 1, len(rows)):
        top = Position(*map(int, rows[min(at, len(rows)) - 1][0].split("-")))
        parts = [part async for part in store.log.entries(writer.generation, START, top)]
        assert [str(entry.position) for part in parts for entry in part] == [place for place, _ in rows[:at]]


async def test_an_output_asked_for_behind_another_history_is_empty(broker: Broker) -> None:
    """A position that this log does not have is followed by nothing."""
    store = Store.on(broker.redis, broker.settings)
    writer = await store.own(await store.submit())
    await writer.say("a", "b")
    parts = [part async for part in store.log.entries(writer.generation, Position(5, 2), Position(10**13, 9))]
    assert [entry for part in parts for entry in part] == []
    assert await store.log.tops([writer.generation, "gen_nobody"]) == [Position(writer.fence.epoch, 3), None]
    assert cast("TextDelta", (await store.rows(writer.generation))[-1][1]).text == "b"


async def test_the_output_is_that_of_the_records_moment(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written between the look at the record and the look at the log is not in it."""
    store = Store.on(broker.redis, broker.settings)
    writer = await store.own(await store.submit())
    await writer.begin()
    await writer.say("now")
    look = broker.records.get

    async def slow(generation: str, *, tenant: str | None = None) -> Record:
        record = await look(generation, tenant=tenant)
        await writer.say(" and later")
        return record

    monkeypatch.setattr(broker.records, "get", slow)
    record = await broker.get(writer.generation)
    assert record.output is not None
    assert (record.output.text, record.last_event_id) == ("now", f"{writer.fence.epoch}-3")


async def test_a_log_that_goes_before_its_end_is_not_found(broker: Broker) -> None:
    """It did not expire: its retention begins with its end."""
    store = Store.on(broker.redis, broker.settings)
    writer = await store.own(await store.submit())
    await broker.redis.delete(broker.keys.log(writer.generation))
    for ask in (broker.stat, broker.get):
        with pytest.raises(GenerationNotFound, match="gone"):
            await ask(writer.generation)
    assert (await writer.say("x")).kind == "gone"
