"""SDKs retry a POST without a key and only say how often they have: issue 5, "idempotent re-POST"; wires.md R10."""

from __future__ import annotations

import asyncio
from typing import Any

from broker.jobs import Submitted, request_digest
from broker.request import GenerationRequest
from tests.broker.store import Store


async def submit(store: Store, retry: int | None, tenant: str = "a", **fields: Any) -> Submitted:
    """One try of the same POST."""
    request = GenerationRequest.model_validate({"model": "demo/demo-1", "input": "x", **fields})
    return await store.jobs.submit(request, tenant=tenant, retry=retry)


async def end(store: Store, generation: str, status: str, ago_ms: int = 0) -> None:
    """As if it had ended so long ago."""
    finished = await store.jobs.now_ms() - ago_ms
    name = store.keys.job(generation)
    pipe = store.redis.pipeline(transaction=False)
    pipe.execute_command("HSET", name, "status", status, "finished_at", finished)
    await pipe.execute()


async def test_a_retry_joins_what_runs(store: Store) -> None:
    """Also several at once, and a retry of a retry; the queue has one job."""
    first = await submit(store, 0)
    again = await asyncio.gather(submit(store, 1), submit(store, 1), submit(store, 2))
    assert [(one.record.id, one.replayed) for one in again] == [(first.record.id, True)] * 3
    assert await store.queue.length() == 1


async def test_a_first_try_is_always_new(store: Store) -> None:
    """Two users of one tenant may ask the same; a retry then joins the last of them."""
    first, second = await submit(store, 0), await submit(store, 0)
    assert first.record.id != second.record.id
    assert (await submit(store, 1)).record.id == second.record.id


async def test_a_retry_of_something_else_is_new(store: Store) -> None:
    """Another body, another tenant, or nothing known of the first try."""
    first = await submit(store, 0)
    others = [await submit(store, 1, input="y"), await submit(store, 1, tenant="b")]
    assert not any(one.replayed or one.record.id == first.record.id for one in others)


async def test_a_retry_gets_what_was_completed_a_moment_ago(store: Store) -> None:
    """A proxy may have cut the answer off; long afterwards it is a new question."""
    first = await submit(store, 0)
    await end(store, first.record.id, "completed", 5_000)
    assert (await submit(store, 1)).record.id == first.record.id
    await end(store, first.record.id, "completed", 31_000)
    assert (await submit(store, 1)).record.id != first.record.id


async def test_a_retry_of_what_failed_tries_again(store: Store) -> None:
    """That is what it is for."""
    for status in ("failed", "cancelled"):
        first = await submit(store, 0)
        await end(store, first.record.id, status)
        again = await submit(store, 1)
        assert again.record.id != first.record.id
        assert not again.replayed


async def test_a_retry_does_not_bring_back_what_was_deleted(store: Store) -> None:
    """Nor take its id, once its commit can't be under way any more."""
    request = GenerationRequest.model_validate({"model": "demo/demo-1", "input": "x"})
    gone = "gen_" + "0" * 28
    await store.redis.set(store.keys.retry("a", request_digest(request)), gone, px=60_000)
    again = await submit(store, 1)
    assert (again.replayed, again.record.id != gone) == (False, True)


async def test_who_does_not_say_is_always_new(store: Store) -> None:
    """Clients other than the SDKs, and a server that was told not to join."""
    first = await submit(store, None)
    assert (await submit(store, None)).record.id != first.record.id
    store.jobs._settings = store.jobs._settings.model_copy(update={"retry_join_s": 0.0})  # pyright: ignore[reportPrivateUsage]
    zero = await submit(store, 0)
    assert (await submit(store, 1)).record.id != zero.record.id
