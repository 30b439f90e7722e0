"""The active index after a failover that forgot an end: design decision 5, contract section 1."""

from __future__ import annotations

from typing import cast

from broker.client import Broker
from broker.stats import FleetCounters
from broker.sweeper import LINGER_MS
from tests.broker.store import Store
from tests.broker.test_crashes import sweeper
from tests.support.snapshot import restore, take


async def test_an_end_that_was_forgotten_starts_its_minute_anew(store: Store) -> None:
    """Seen ended, running again by a failover, ended again: a whole minute passes behind the second end, too."""
    generation = await store.submit()
    early = await take(cast("Broker", store), generation)
    own = sweeper(store)
    await store.jobs.cancel(generation, "client")
    await own.sweep()
    await restore(cast("Broker", store), generation, early)
    await store.raw.zadd(store.keys.active, {generation: await store.jobs.now_ms() - 2 * LINGER_MS}, xx=True)
    await own.sweep()
    assert await store.queue.contains([generation]) == [True]
    assert (await FleetCounters(store.redis, store.keys).read()).active == 1
    await store.jobs.cancel(generation, "client")
    await own.sweep()
    await own.sweep()
    score = await store.raw.zscore(store.keys.active, generation)
    assert score is not None
    assert await store.jobs.now_ms() - score < LINGER_MS
