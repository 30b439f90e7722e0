"""Whatever the server does to it, the writer's log says what it was given: once, whole and in order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import cast
from unittest.mock import patch

import pytest
from fakeredis import FakeAsyncRedis, FakeServer
from hypothesis import example, given, settings
from hypothesis import strategies as st

from broker.events import TextDelta
from broker.redis import Redis
from broker.settings import Settings
from broker.tasks import end
from tests.broker.faulty import Fault, FaultyLog, open_writer
from tests.broker.store import Store
from tests.broker.test_writer import ENDING, starts, text
from tests.support.waiting import wait_until
from worker.batcher import Batcher

kinds: list[Fault] = ["none", "none", "refuse", "lose", "forget-some", "forget-all"]
faults = st.lists(st.sampled_from(kinds), max_size=10)
words = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3), max_size=8)
batchers = st.sampled_from([("none", 0.0), ("time", 0.0), ("time", 0.001), ("word", 0.02)])


@pytest.fixture(autouse=True, scope="module")
def at_once() -> Iterator[None]:
    """Tries again without a pause."""
    with patch("worker.patience._BACK_OFF_S", (0.0,)):
        yield


async def told(said: Sequence[str], troubles: Sequence[Fault], batcher: Batcher, *, posts: bool) -> None:
    """One generation through these faults, its writer running beside the provider; judged behind its end."""
    client = cast("Redis", FakeAsyncRedis(server=FakeServer()))
    try:
        store = Store.on(client, Settings(key_prefix="faults"))
        log = FaultyLog(store, await store.submit(), troubles)
        log.posts = posts
        writer = await open_writer(log, batcher=batcher)
        await log.remember()
        task = asyncio.get_running_loop().create_task(writer.run())
        for word in said:
            writer.write(TextDelta(0, word))
            await writer.room()
            await asyncio.sleep(0)
        await end(task)
        assert await writer.end(ENDING) == "ok"
        assert await text(store, log.generation) == "".join(said)
        assert await starts(store, log.generation) == [(1, "restart")]
        record = await store.records.get(log.generation)
        assert (record.status, record.last_event_id) == ("completed", (await store.rows(log.generation))[-1][0])
        assert (record.first_token_at is not None) == bool(said)
    finally:
        await client.aclose()


@settings(max_examples=60)
@given(words, faults, batchers, st.booleans())
@example(["a"], ["lose", "lose", "lose"], ("none", 0.0), False)
@example(["a", "b"], ["none", "none", "forget-all"], ("none", 0.0), True)
def test_no_fault_loses_or_doubles_a_word(
    said: list[str], troubles: Sequence[Fault], batcher: tuple[str, float], posts: bool
) -> None:
    """Requests and replies lost, tails forgotten, also around the end: every word once, one start, one end."""
    strategy, window_s = batcher
    asyncio.run(told(said, troubles, Batcher(strategy, window_s), posts=posts))  # pyright: ignore[reportArgumentType] - drawn from the strategies


async def test_a_lost_reply_does_not_move_the_first_token(store: Store) -> None:
    """The retry brings the start along, and more words; the first one keeps its time, and so does the TTFT."""
    log = FaultyLog(store, await store.submit(), ["lose"])
    writer = await open_writer(log)
    log.replies.clear()
    writer.write(TextDelta(0, "a"))
    task = asyncio.get_running_loop().create_task(writer.run())

    async def first_token_at() -> float | None:
        return (await store.records.get(log.generation)).first_token_at

    async def there() -> bool:
        return await first_token_at() is not None

    await wait_until(there)
    first = await first_token_at()
    written = await store.jobs.now_ms()

    async def later() -> bool:
        return await store.jobs.now_ms() > written + 5

    await wait_until(later)
    writer.write(TextDelta(0, "b"))
    log.replies.set()

    async def said() -> bool:
        return await text(store, log.generation) == "ab"

    await wait_until(said)
    await end(task)
    assert await first_token_at() == first
