"""Where an answer is made upstream, kept under the fence and given to whoever claims next: docs/adr/0016."""

from __future__ import annotations

from typing import Any, cast

import pytest

from broker.errors import LogUnavailable
from broker.scripts import Claim, Fence, Refusal, UpstreamAnswer
from tests.broker.store import Store
from worker.background import Keeper

pytestmark = pytest.mark.integration

ANSWER = UpstreamAnswer("resp_1 x", 2)


async def test_the_next_claim_is_told(store: Store) -> None:
    """Who holds the log may say it; every later owner hears it; the last word counts."""
    generation = await store.submit()
    writer = await store.own(generation, "a")
    claim = await store.claim(generation, "a")
    assert isinstance(claim, Claim)
    assert claim.upstream is None
    assert await store.log.keep_upstream(generation, writer.fence, UpstreamAnswer("old", 1))
    assert await store.log.keep_upstream(generation, writer.fence, ANSWER)
    await store.lapse(generation)
    again = await store.claim(generation, "b")
    assert isinstance(again, Claim)
    assert (again.upstream, again.request) == (ANSWER, claim.request)


async def test_only_the_owner_may_say_it(store: Store) -> None:
    """Not one who is fenced, nor anybody once the log has ended."""
    generation = await store.submit()
    old = await store.own(generation, "a")
    await store.lapse(generation)
    new = await store.own(generation, "b")
    assert not await store.log.keep_upstream(generation, old.fence, ANSWER)
    assert not await store.log.keep_upstream(generation, Fence("b", old.fence.epoch), ANSWER)
    assert not await store.log.keep_upstream(generation, Fence("a", new.fence.epoch), ANSWER)
    await new.begin(2)
    await new.end("x")
    assert not await store.log.keep_upstream(generation, new.fence, ANSWER)
    assert not await store.log.keep_upstream("gen_nobody", new.fence, ANSWER)
    assert "upstream" not in await store.hash(generation)
    assert await store.hash("gen_nobody") == {}


async def left(store: Store, **fields: Any) -> str:
    """A generation whose owner died and left an answer under way."""
    generation = await store.submit(**fields)
    writer = await store.own(generation, "a")
    assert await store.log.keep_upstream(generation, writer.fence, ANSWER)
    await store.lapse(generation)
    return generation


async def test_who_finds_it_ended_is_told_what_to_stop(store: Store) -> None:
    """Cancelled while nobody held it: the job stays for a worker, who hears of it as often as it asks."""
    generation = await left(store)
    assert await store.jobs.cancel(generation, "client") == "cancelled"
    assert await store.queue.contains([generation]) == [True]
    for _ in range(2):
        refusal = await store.claim(generation, "b")
        assert isinstance(refusal, Refusal)
        assert (refusal.kind, refusal.upstream) == ("ended", ANSWER)
        assert b"demo-1" in refusal.request


async def test_who_ends_it_by_its_claim_is_told_what_to_stop(store: Store) -> None:
    """Out of attempts, or with ``on_worker_loss: fail``."""
    generation = await left(store, on_worker_loss="fail")
    refusal = await store.claim(generation, "b")
    assert isinstance(refusal, Refusal)
    assert (refusal.kind, refusal.upstream) == ("lost", ANSWER)


async def test_a_completed_answer_leaves_nothing_to_stop(store: Store) -> None:
    """It has ended upstream as well."""
    generation = await store.submit()
    writer = await store.own(generation, "a")
    await store.log.keep_upstream(generation, writer.fence, ANSWER)
    await writer.begin()
    await writer.end("x")
    assert await store.claim(generation, "b") == Refusal("ended")


class Away:
    """A log whose server is away for the first two calls."""

    def __init__(self) -> None:
        self.kept: list[tuple[Fence, UpstreamAnswer]] = []
        self.calls = 0

    async def keep_upstream(self, generation: str, fence: Fence, upstream: UpstreamAnswer) -> bool:
        """Keep it, in the end."""
        assert generation == "gen_x"
        self.calls += 1
        if self.calls <= 2:
            raise LogUnavailable
        self.kept.append((fence, upstream))
        return True


async def test_no_token_is_taken_before_it_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis being away is waited out, however long; and after a claim anew it is said again."""
    monkeypatch.setattr("worker.background._AGAIN_S", 0.001)
    log = Away()
    first, second = Fence("a", 1), Fence("b", 2)
    keeper = Keeper(cast("Any", log), "gen_x", first)
    await keeper.again()
    await keeper.keep("resp_1", 1, begun=True)
    assert (log.calls, log.kept) == (3, [(first, UpstreamAnswer("resp_1", 1))])
    await keeper.reclaimed(second, 4)
    await keeper.keep("resp_2", 4, begun=False)
    await keeper.reclaimed(second, 7)
    assert log.kept[1:] == [
        (second, UpstreamAnswer("resp_1", 4)), (second, UpstreamAnswer("resp_2", 5)),
        (second, UpstreamAnswer("resp_2", 8)),
    ]  # fmt: skip
