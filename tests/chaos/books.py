"""What Redis itself holds, read past every proxy: whole logs, moments to go back to, and what must not be left."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from fnmatch import fnmatch
from typing import Any

from broker.events import event_to_json
from broker.keys import PERMANENT, Keys
from broker.log import read_rows
from tests.chaos.fleet import PREFIX
from tests.support.history import Seen

KEYS = Keys(PREFIX)


def to_seen(rows: Any) -> list[Seen]:
    """Rows of a stream as a client would see them."""
    return [Seen(str(entry.position), json.loads(event_to_json(entry.event))) for entry in read_rows(rows)]


async def read_logs(client: Any, generations: Iterable[str]) -> dict[str, list[Seen]]:
    """Many of them in one round trip."""
    names = list(generations)
    pipe = client.pipeline(transaction=False)
    for generation in names:
        pipe.xrange(KEYS.log(generation))
    return {name: to_seen(rows) for name, rows in zip(names, await pipe.execute(), strict=True)}


def names_of(generation: str) -> list[str]:
    """The keys that make up a generation."""
    return [KEYS.job(generation), KEYS.log(generation), KEYS.request(generation)]


async def remember(client: Any, generation: str) -> dict[str, tuple[bytes, int]]:
    """The generation's keys as they stand, with their TTLs, in one step."""
    pipe = client.pipeline(transaction=True)
    for name in names_of(generation):
        pipe.dump(name)
        pipe.pttl(name)
    answers = await pipe.execute()
    return {name: (answers[2 * n], answers[2 * n + 1]) for n, name in enumerate(names_of(generation)) if answers[2 * n]}


async def go_back(client: Any, generation: str, moment: dict[str, tuple[bytes, int]]) -> list[Seen]:
    """Put the keys back to an earlier moment, in one step; answers the log that is forgotten by that."""
    pipe = client.pipeline(transaction=True)
    pipe.xrange(KEYS.log(generation))
    pipe.delete(*names_of(generation))
    for name, (value, ttl) in moment.items():
        pipe.restore(name, max(ttl, 1), value)
    return to_seen((await pipe.execute())[0])


async def back_to_queue(client: Any, generation: str, first: tuple[bytes, dict[bytes, bytes]]) -> list[Seen]:
    """Put a running generation back to the moment right after its submit; answers the log that is forgotten by that."""
    job, log = KEYS.job(generation), KEYS.log(generation)
    entry, fields = first
    epoch = entry.partition(b"-")[0]
    pipe = client.pipeline(transaction=True)
    pipe.xrange(log)
    pipe.pttl(log)
    pipe.delete(log)
    pipe.xadd(log, fields, id=entry)
    pipe.pexpire(log, 3_600_000)
    pipe.hset(
        job,
        mapping={
            "status": "queued", "owner": "", "lease_until": "0", "attempt": "0", "losses": "0", "seq": "1",
            "epoch": epoch, "top": epoch,
        },
    )  # fmt: skip
    pipe.hdel(job, "started_at", "first_token_at", "cancel", "lease_ms")
    return to_seen((await pipe.execute())[0])


async def first_entry(client: Any, generation: str) -> tuple[bytes, dict[bytes, bytes]] | None:
    """The entry that was written at submit, as Redis gives it."""
    rows = await client.xrange(KEYS.log(generation), count=1)
    return rows[0] if rows else None


async def exist(client: Any, generations: Iterable[str]) -> dict[str, bool]:
    """Which of these have a log."""
    names = list(generations)
    pipe = client.pipeline(transaction=False)
    for generation in names:
        pipe.exists(KEYS.log(generation))
    return dict(zip(names, map(bool, await pipe.execute()), strict=True))


async def status(client: Any, generation: str) -> tuple[str, str, int]:
    """Status, owner and last seq in the job hash; an empty status where there is none."""
    values = await client.hmget(KEYS.job(generation), "status", "owner", "seq")
    return (values[0] or b"").decode(), (values[1] or b"").decode(), int(values[2] or 0)


async def without_ttl(client: Any) -> AsyncIterator[str]:
    """Keys that would stay for ever and are not listed as such."""
    async for key in client.scan_iter(match="*", count=1000):
        name: str = key.decode()
        if not any(fnmatch(name, f"{PREFIX}:{pattern}") for pattern in PERMANENT) and await client.ttl(key) == -1:
            yield name
