"""Create, claim and release: WR clauses of PROTOCOL.md, design decisions 3 and 4."""

# Our tests look inside on purpose.
# pyright: reportPrivateUsage=false
from __future__ import annotations

import pytest

from broker.events import Failed
from broker.request import GenerationRequest
from broker.scripts import Claim, Refusal
from tests.broker.store import LEASE_MS, Store


async def test_a_submit_makes_a_log_with_its_first_entry(store: Store) -> None:
    """Seq 1 is generation.created, its epoch is its time, and every key has a TTL from the first write on."""
    generation = await store.submit(retention_s=100, deadline_s=50)
    ((position, _),) = await store.rows(generation)
    record = await store.records.get(generation)
    assert position == record.last_event_id == f"{round(record.created_at * 1000)}-1"
    for name in (store.keys.job(generation), store.keys.log(generation), store.keys.request(generation)):
        assert 200_000 < await store.raw.pttl(name) <= 250_000 + 86_400_000


async def test_a_claim_is_exclusive_while_its_lease_lives(store: Store) -> None:
    """The second asks in vain; the first may ask again and keeps its epoch."""
    generation = await store.submit()
    first = await store.claim(generation, "a")
    assert isinstance(first, Claim)
    assert GenerationRequest.model_validate_json(first.request).input == "x"
    second = await store.claim(generation, "b")
    assert isinstance(second, Refusal)
    assert second.kind == "busy"
    assert 0 < second.wait_ms <= LEASE_MS
    again = await store.claim(generation, "a")
    assert isinstance(again, Claim)
    assert (again.epoch, again.attempt) == (first.epoch, first.attempt)


async def test_epochs_only_grow(store: Store) -> None:
    """Whoever claims later stands above, also within one millisecond."""
    generation = await store.submit()
    epochs = [int((await store.hash(generation))["epoch"])]
    for n in range(5):
        claim = await store.claim(generation, f"owner{n}", max_attempts=99)
        assert isinstance(claim, Claim)
        epochs.append(claim.epoch)
        await store.lapse(generation)
    assert epochs == sorted(set(epochs))


async def test_a_lapsed_lease_is_a_loss_and_a_release_is_none(store: Store) -> None:
    """Attempts count both; only losses wear a generation out."""
    generation = await store.submit()
    writer = await store.own(generation, "a")
    await store.log.release(generation, writer.fence)
    released = await store.claim(generation, "b")
    assert isinstance(released, Claim)
    assert (released.attempt, released.losses) == (2, 0)
    await store.lapse(generation)
    lapsed = await store.claim(generation, "c")
    assert isinstance(lapsed, Claim)
    assert (lapsed.attempt, lapsed.losses) == (3, 1)


async def test_who_was_cut_off_judges_nobody(store: Store) -> None:
    """A claimer whose own connections are young waits until they have been whole for a lease."""
    generation = await store.submit()
    await store.own(generation, "a")
    await store.lapse(generation)
    early = await store.claim(generation, "b", whole_ms=LEASE_MS - 500)
    assert early == Refusal("busy", 500)
    assert isinstance(await store.claim(generation, "b", whole_ms=LEASE_MS), Claim)


async def test_the_holders_lease_is_the_measure(store: Store) -> None:
    """Config skew in a rolling deploy: a claimer with a shorter lease judges no sooner than the holder's allows."""
    generation = await store.submit()
    await store.own(generation, "a")
    await store.lapse(generation)
    early = await store.claim(generation, "b", lease_ms=1000, whole_ms=LEASE_MS - 500)
    assert early == Refusal("busy", 500)
    assert isinstance(await store.claim(generation, "b", lease_ms=1000, whole_ms=LEASE_MS), Claim)


async def test_a_clock_that_went_back_makes_nobody_wait_longer_than_a_lease(store: Store) -> None:
    """The lease of a dead owner seems to end in a day: it ends in a lease."""
    generation = await store.submit()
    await store.own(generation, "a")
    far = int((await store.hash(generation))["lease_until"]) + 86_400_000
    await store.raw.hset(store.keys.job(generation), "lease_until", str(far))
    refused = await store.claim(generation, "b")
    assert isinstance(refused, Refusal)
    assert 0 < refused.wait_ms <= LEASE_MS
    again = await store.claim(generation, "b")
    assert isinstance(again, Refusal)
    assert again.wait_ms <= refused.wait_ms


async def test_a_forgotten_claim_is_no_other_ones_double_even_when_the_clock_went_back(store: Store) -> None:
    """Clock and memory fail together: two claims, and an end that nobody's claim stands behind, share no epoch."""
    generation = await store.submit()
    job = store.keys.job(generation)
    ahead = str(int((await store.hash(generation))["epoch"]) + 600_000)
    epochs: list[int] = []
    for owner in ("1234", "fedc", "0000"):
        await store.raw.hset(job, mapping={"epoch": ahead, "top": ahead, "owner": "", "lease_until": "0"})
        claim = await store.claim(generation, owner)
        assert isinstance(claim, Claim)
        epochs.append(claim.epoch)
    assert len({*epochs, int(ahead) + 1}) == 4
    assert min(epochs) > int(ahead)


@pytest.mark.parametrize(("fields", "claims"), [({}, 3), ({"on_worker_loss": "fail"}, 1)])
async def test_a_generation_that_loses_its_workers_ends(store: Store, fields: dict[str, str], claims: int) -> None:
    """Out of attempts, or with the policy `fail`: the script writes generation.failed, once."""
    generation = await store.submit(**fields)
    for n in range(claims):
        assert isinstance(await store.claim(generation, f"owner{n}"), Claim)
        await store.lapse(generation)
    assert await store.claim(generation, "last") == Refusal("lost")
    assert await store.claim(generation, "later") == Refusal("ended")
    position, event = (await store.rows(generation))[-1]
    assert isinstance(event, Failed)
    assert event.error.code == "worker_lost"
    record = await store.records.get(generation)
    assert (record.status, record.last_event_id) == ("failed", position)
    assert record.error is not None


async def test_only_the_owner_releases(store: Store) -> None:
    """A release by somebody else changes nothing."""
    generation = await store.submit()
    writer = await store.own(generation, "a")
    await store.lapse(generation)
    successor = await store.own(generation, "b")
    assert not await store.log.release(generation, writer.fence)
    assert await store.log.release(generation, successor.fence)


async def test_what_is_not_there_can_not_be_claimed(store: Store) -> None:
    """Unknown, or its log lost."""
    assert await store.claim("gen_nobody") == Refusal("gone")
    generation = await store.submit()
    await store.redis.delete(store.keys.log(generation))
    assert await store.claim(generation) == Refusal("gone")


async def test_create_is_idempotent_by_the_id(store: Store) -> None:
    """The same commit twice makes one log."""
    generation = await store.submit()
    before = await store.hash(generation)
    request = GenerationRequest(model="demo/demo-1", input="x")
    await store.jobs._commit(generation, request, "default", "", 1)
    assert await store.hash(generation) == before
    assert len(await store.rows(generation)) == 1
