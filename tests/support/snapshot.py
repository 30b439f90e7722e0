"""A promoted stale replica, on one server: put a generation's keys back to how they stood at an earlier moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from broker.client import Broker


@dataclass(frozen=True)
class Snapshot:
    """The keys of one generation as DUMP gave them, with their TTL in ms."""

    values: dict[str, tuple[bytes, int]]


def _names(broker: Broker, generation: str) -> list[str]:
    keys = broker.keys
    return [keys.job(generation), keys.log(generation), keys.request(generation)]


def moved(broker: Broker, snapshot: Snapshot, generation: str, other: str) -> Snapshot:
    """The same, as how another generation stands: to be changed where nobody writes."""
    names = dict(zip(_names(broker, generation), _names(broker, other), strict=True))
    return Snapshot({names[name]: value for name, value in snapshot.values.items()})


async def drop(broker: Broker, generation: str) -> None:
    """Leave nothing of it."""
    await cast("Any", broker.redis).delete(*_names(broker, generation))


async def take(broker: Broker, generation: str) -> Snapshot:
    """How the generation stands now, atomically."""
    client = cast("Any", broker.redis)
    pipe = client.pipeline(transaction=True)
    for name in _names(broker, generation):
        pipe.dump(name)
        pipe.pttl(name)
    answers = await pipe.execute()
    return Snapshot(
        {
            name: (answers[2 * n], answers[2 * n + 1])
            for n, name in enumerate(_names(broker, generation))
            if answers[2 * n]
        }
    )


async def restore(broker: Broker, generation: str, snapshot: Snapshot, *without: str) -> None:
    """Put it back, atomically: everything since is forgotten, and so are these fields of the job."""
    client = cast("Any", broker.redis)
    pipe = client.pipeline(transaction=True)
    pipe.delete(*_names(broker, generation))
    for name, (value, ttl) in snapshot.values.items():
        pipe.restore(name, max(ttl, 0), value)
    for field in without:
        pipe.hdel(broker.keys.job(generation), field)
    await pipe.execute()
