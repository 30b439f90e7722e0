"""The usual append's short way leaves just what the whole script leaves: log, hash, notices and replies."""

from __future__ import annotations

import random
import re
from importlib.resources import files
from typing import Any

from broker.events import TextDelta, encode_entry
from broker.scripts import source
from tests.broker.store import LEASE_MS, Store, Writer

_TIMES = ("lease_until", "created_at", "started_at", "first_token_at", "deadline_at")


def whole() -> str:
    """append.lua without its short way."""
    swift = (files("broker") / "lua" / "swift.lua").read_text()
    rest = source("append").removeprefix(swift)
    assert rest != source("append")
    return rest


async def _notices(pubsub: Any, writer: Writer) -> list[bytes]:
    """What has been published, with the epoch taken out."""
    found: list[bytes] = []
    while (message := await pubsub.get_message(timeout=0.2)) is not None:
        if message["type"] == "message":
            found.append(message["data"].replace(str(writer.fence.epoch).encode(), b"EPOCH"))
    return found


async def _state(store: Store, writer: Writer) -> tuple[Any, ...]:
    """The log without its epochs, and the hash without its times and names."""
    rows = [(position.partition("-")[2], event) for position, event in (await store.rows(writer.generation))[1:]]
    held = await store.hash(writer.generation)
    lease = int(held["lease_until"]) - await store.jobs.now_ms()
    kept = {name: value for name, value in held.items() if name not in (*_TIMES, "epoch", "top")}
    return rows, kept, held["top"] == held["epoch"], 0 < lease <= LEASE_MS


async def test_both_ways_leave_the_same(store: Store) -> None:
    """Appends of all sorts: usual ones, repeated ones, ones behind a gap or of a stranger, with and without a lease."""
    swift, slow = await store.own(await store.submit()), await store.own(await store.submit())
    for writer in (swift, slow):
        await writer.begin()
        await writer.say("first")
    script = store.raw.register_script(whole())
    pubsubs = [store.raw.pubsub(), store.raw.pubsub()]
    for pubsub, writer in zip(pubsubs, (swift, slow), strict=True):
        await pubsub.subscribe(store.keys.channel(writer.generation))
    rng = random.Random(7)
    seq = swift.next_seq
    assert seq == slow.next_seq
    for number in range(120):
        first = max(seq + rng.choice([0, 0, 0, 0, -1, -2, 1]), 2)
        words = [f"{number}.{n}é\n" for n in range(rng.choice([1, 1, 1, 2, 0]))]
        owner = rng.choice(["a", "a", "a", "a", "b"])
        lease = rng.choice(["", LEASE_MS])
        flat = [part for word in words for part in encode_entry(TextDelta(0, word))]
        replies: list[Any] = []
        for writer, run in ((swift, store.scripts._scripts["append"]), (slow, script)):  # pyright: ignore[reportPrivateUsage]
            names = [name(writer.generation) for name in (store.keys.job, store.keys.log, store.keys.request)]
            args = (owner, writer.fence.epoch, first, lease, store.keys.channel(writer.generation), "", "", *flat)
            reply = await run(keys=names, args=args)
            replies.append([re.sub(rb"^\d{13}$", b"EPOCH", part) for part in reply])
        assert replies[0] == replies[1], (number, first, words, owner)
        if replies[0][0] == b"ok":
            seq = max(seq, first + len(words))
        if number == 60:
            for writer in (swift, slow):
                await store.jobs.cancel(writer.generation, "client")
    assert await _state(store, swift) == await _state(store, slow)
    assert await _notices(pubsubs[0], swift) == await _notices(pubsubs[1], slow)
    for pubsub in pubsubs:
        await pubsub.aclose()
