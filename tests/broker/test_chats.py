"""What a chat's id stands for. Contract section 5, the AI SDK's routes."""

from __future__ import annotations

import asyncio
import itertools

from hypothesis import given
from hypothesis import strategies as st

from broker.chats import Chats, Run
from broker.jobs import life_ms
from broker.records import new_id
from broker.request import GenerationRequest
from broker.settings import Settings
from tests.broker.store import Store

LIFE_MS = 60_000


async def begun(store: Store, chat: str = "c", tenant: str = "t") -> tuple[Chats, str]:
    """The chats of a store, one of which stands for a new generation."""
    chats = Chats(store.redis, store.keys)
    generation = await store.submit()
    await chats.begin(tenant, chat, generation, LIFE_MS)
    return chats, generation


async def test_a_chat_stands_for_what_was_submitted_to_it(store: Store) -> None:
    """Its own tenant's, and nothing else."""
    chats, generation = await begun(store)
    assert await chats.current("t", "c") == Run(generation, settled=False)
    assert await chats.current("u", "c") is None
    assert await chats.current("t", "d") is None
    assert await chats.current("t\0c", "") is None


async def test_the_later_submit_stays_whichever_comes_last(store: Store) -> None:
    """Two POSTs to one chat race through two nodes: in each order, and both at once."""
    chats = Chats(store.redis, store.keys)
    older, newer = new_id(1_700_000_000_000), new_id(1_700_000_000_001)
    for number, order in enumerate(itertools.permutations([older, newer])):
        for generation in order:
            await chats.begin("t", str(number), generation, LIFE_MS)
        assert await chats.current("t", str(number)) == Run(newer, settled=False)
    await asyncio.gather(*(chats.begin("t", "both", generation, LIFE_MS) for generation in [newer, older] * 5))
    assert await chats.current("t", "both") == Run(newer, settled=False)


async def test_what_is_settled_is_the_answer_and_not_the_chat(store: Store) -> None:
    """A late stop, and a late word that the end was written, say nothing of the next answer."""
    chats, first = await begun(store)
    await chats.settle(first)
    assert await chats.current("t", "c") == Run(first, settled=True)
    second = await store.submit()
    await chats.begin("t", "c", second, LIFE_MS)
    await chats.settle(first)
    assert await chats.current("t", "c") == Run(second, settled=False)
    await chats.settle(second)
    # The same POST once more, with its key.
    await chats.begin("t", "c", second, LIFE_MS)
    assert await chats.current("t", "c") == Run(second, settled=True)


async def test_an_answer_that_ends_later_stays_settled(store: Store) -> None:
    """It was stopped; its worker ends it after that."""
    chats, generation = await begun(store)
    writer = await store.own(generation)
    await writer.begin()
    await chats.settle(generation)
    await writer.end("x")
    assert await chats.current("t", "c") == Run(generation, settled=True)


async def test_nothing_is_kept_without_an_end(store: Store) -> None:
    """A chat lives as long as the longest of its answers may; one that is gone leaves no trace."""
    chats, generation = await begun(store)
    key = store.keys.chat("t", "c")
    assert 0 < await store.raw.pttl(key) <= LIFE_MS
    await chats.begin("t", "c", generation, 1000)
    assert 1000 < await store.raw.pttl(key) <= LIFE_MS
    await store.jobs.delete(generation, tenant="default")
    await chats.settle(generation)
    assert not await store.raw.exists(store.keys.job(generation))
    assert await chats.current("t", "c") == Run(generation, settled=False)


@given(st.integers(1, 10**5), st.integers(1, 10**4), st.integers(1, 10**4) | st.none())
def test_a_life_spans_the_deadline_and_the_retention(deadline_s: int, default_s: int, retention_s: int | None) -> None:
    """Twice the retention: once more for a log that ends at its deadline's last moment."""
    wanted = {"model": "m", "input": "x", "deadline_s": min(deadline_s, 86400), "retention_s": retention_s}
    request = GenerationRequest.model_validate(wanted)
    least = request.deadline_s + (retention_s or default_s)
    assert life_ms(request, Settings(retention_s=default_s)) >= least * 1000
