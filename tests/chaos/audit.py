"""After the last fault: what is true, what the clients saw, and what was left behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from tests.chaos import books
from tests.chaos.fleet import NODES, WORKERS, Fleet
from tests.chaos.load import GIVE_UP_S, Generation, Load
from tests.chaos.nemesis import Nemesis
from tests.support.history import TERMINAL, Anomaly, Facts, Paid, Seen, Viewer, answer, check
from tests.support.waiting import wait_until

CANCEL_BOUND_S = 1.5
"""With every process of two cores busy; a quiet run measures the real figure."""
CONNECTIONS = len(NODES) * 10 + len(WORKERS) * 20
"""The most that docs/operations.md allows for: about ten a node and twenty a worker."""


@dataclass
class Findings:
    """What the audit has found."""

    anomalies: list[Anomaly]
    leaks: list[str]
    endings: Counter[str]
    """How the generations ended, failures by their codes."""


async def audit(fleet: Fleet, load: Load, nemesis: Nemesis) -> Findings:
    """Every anomaly, every leak, and how everything ended."""
    client = fleet.admin()
    try:
        ids = [g.id for g in load.generations if g.id and not g.gone]
        await _all_ended(client, [name for name in ids if name not in nemesis.kept])
        truth = {**await books.read_logs(client, ids), **nemesis.kept}
        anomalies = check(_viewers(load, truth, nemesis), truth, await _facts(fleet, load, nemesis))
        anomalies += await _records(fleet, load, truth, nemesis)
        leaks = [f"key {name} has no TTL" async for name in books.without_ttl(client)]
        leaks += await _connections(client)
    finally:
        await client.aclose()
    if fleet.provider.live:
        leaks.append(f"{fleet.provider.live} provider calls are open")
    endings = Counter(_ending(log[-1]) for log in truth.values() if log)
    return Findings(anomalies, [*leaks, *load.problems, *fleet.died, *fleet.complaints], endings)


def _ending(last: Seen) -> str:
    kind = last.kind.partition(".")[2]
    why = last.event["error"]["code"] if kind == "failed" else last.event.get("reason", "")
    return f"{kind} {why}".rstrip()


async def _all_ended(client: Any, ids: list[str]) -> None:
    """Give those that a server's lapse of memory brought back to life their time."""

    async def ended() -> bool:
        pipe = client.pipeline(transaction=False)
        for generation in ids:
            pipe.hget(books.KEYS.job(generation), "status")
        return not {b"queued", b"running"} & set(await pipe.execute())

    with contextlib.suppress(AssertionError):
        await wait_until(ended, GIVE_UP_S)


def _viewers(load: Load, truth: Mapping[str, list[Seen]], nemesis: Nemesis) -> list[Viewer]:
    """All of them, and each log itself as one more, which must be dense and have one end."""
    viewers: list[Viewer] = []
    for generation in load.generations:
        if not generation.id:
            continue
        log = truth.get(generation.id, [])
        known = {seen.id for history in (log, *nemesis.forks.get(generation.id, ())) for seen in history}
        for viewer in generation.viewers:
            if generation.id in nemesis.unsure and viewer.seen and viewer.seen[-1].id not in known:
                # Its end was shown, and forgotten by a server that crashed in that second: docs/guarantees.md.
                load.counts["ends forgotten in a crash"] += 1
                continue
            viewers.append(viewer)
        if generation.id in truth:
            ended = bool(log) and log[-1].kind in TERMINAL
            viewers.append(Viewer(f"log of g{generation.number}", generation.id, log, gave_up=not ended))
    return viewers


async def _facts(fleet: Fleet, load: Load, nemesis: Nemesis) -> Facts:
    doubted = {*nemesis.forks, *nemesis.cancels_in_doubt}
    cancelled = {
        g.script.key: g.cancelled_at
        for g in load.generations
        if g.cancelled_at is not None and g.id not in doubted and not g.gone
    }
    calls = {f"{call.key} call {call.index}": call for call in fleet.provider.calls if call.key in cancelled}
    return Facts(
        forks=nemesis.forks,
        texts=load.texts,
        gone={g.id for g in load.generations if g.gone},
        cancelled={
            name: _quiet_after(cancelled[call.key], [*nemesis.disturbed[""], *nemesis.disturbed[call.caller]])
            for name, call in calls.items()
        },
        paid=[Paid(name, call.started_at, call.closed_at) for name, call in calls.items()],
        cancel_bound_s=CANCEL_BOUND_S,
    )


def _quiet_after(at: float, disturbed: list[tuple[float, float]]) -> float:
    """The first moment from ``at`` on when the caller could do its work."""
    for began, ended in sorted(disturbed):
        if began <= at + CANCEL_BOUND_S and ended > at:
            at = ended
    return at


async def _records(fleet: Fleet, load: Load, truth: Mapping[str, list[Seen]], nemesis: Nemesis) -> list[Anomaly]:
    """What a record says is what its log says."""
    found: list[Anomaly] = []
    gate = asyncio.Semaphore(8)
    async with httpx2.AsyncClient(timeout=20) as http:

        async def compare(generation: Generation) -> None:
            async with gate:
                url = f"{fleet.front.url}/v1/generations/{generation.id}"
                response = await http.get(url, headers=generation.headers)
            found.extend(_compare(generation, response, truth[generation.id]))

        alive = [g for g in load.generations if g.id in truth and g.id not in nemesis.kept and truth[g.id]]
        await asyncio.gather(*map(compare, alive))
    return found


def _compare(generation: Generation, response: httpx2.Response, log: list[Seen]) -> list[Anomaly]:
    name = f"record of g{generation.number}"
    if response.status_code != 200:
        return [Anomaly("lost", name, f"{response.status_code}")]
    record: dict[str, Any] = response.json()
    if record["last_event_id"] != log[-1].id or f"generation.{record['status']}" != log[-1].kind:
        return [Anomaly("lost", name, f"{record['status']} at {record['last_event_id']}, the log: {log[-1]}")]
    if record["output"]["text"] != answer(log):
        return [Anomaly("mixed-attempt", name, "its text is not that of the log")]
    return []


async def _connections(client: Any) -> list[str]:
    """Viewers have gone, and so must what was opened for them have."""

    async def count() -> int:
        return len([row for row in await client.client_list() if row["flags"] not in ("S", "M")])

    try:
        await wait_until(lambda: _at_most(count), 20)
    except AssertionError:
        return [f"{await count()} connections to Redis, {CONNECTIONS} at most"]
    return []


async def _at_most(count: Any) -> bool:
    return await count() <= CONNECTIONS
