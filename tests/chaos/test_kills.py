"""Processes are killed in mid-answer; every viewer still gets one whole, honest history."""

from __future__ import annotations

import asyncio
import itertools

import httpx2
import pytest

from rejoinder.dev import DevStack
from tests.support.history import Viewer, answer, check
from tests.support.http_viewer import ended, watch_once
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.integration]

LEASE_S = 3


async def submit(http: httpx2.AsyncClient, stack: DevStack, tokens: int, rate: float) -> str:
    """A generation that takes ``tokens / rate`` seconds."""
    body = {"model": "demo/demo-1", "input": "Go on.", "provider_options": {"tokens": tokens, "rate": rate}}
    return (await http.post(f"{stack.url}/v1/generations", json=body)).json()["id"]


async def follow(http: httpx2.AsyncClient, stack: DevStack, viewer: Viewer) -> Viewer:
    """Watch to the end over whatever happens."""
    nodes = itertools.cycle(stack.nodes.values())
    while not ended(viewer):
        if await watch_once(http, next(nodes), viewer) is None:
            await wait_until(lambda: _ready(http, stack), 30)
    return viewer


@pytest.mark.parametrize("victim", ["worker", "node-a", "redis"])
async def test_a_kill_in_mid_answer_loses_nothing(victim: str) -> None:
    """Kill -9 of the worker, of a node, of Redis: dense, one end, the text of the record."""
    env = {"REJOINDER_LEASE_S": str(LEASE_S)}
    async with DevStack(port=0, isolated=True, env=env) as stack, httpx2.AsyncClient(timeout=30) as http:
        generation = await submit(http, stack, 160, 40)
        viewers = [Viewer(f"v{n}", generation) for n in range(6)]
        watching = asyncio.gather(*(follow(http, stack, viewer) for viewer in viewers))
        await wait_until(lambda: all(len(viewer.seen) > 12 for viewer in viewers))
        stack.kill(victim)
        await asyncio.wait_for(watching, 60)
        truth = Viewer("truth", generation)
        await wait_until(lambda: _ready(http, stack))
        await watch_once(http, stack.url, truth, replay="exact")
        record = (await http.get(f"{stack.url}/v1/generations/{generation}")).json()
    log = [seen for seen in truth.seen if seen.id]
    assert check([*viewers, truth], {generation: log}) == []
    assert {answer(viewer.seen) for viewer in viewers} == {record["output"]["text"]}
    assert record["status"] == "completed"
    assert record["attempt"] == (2 if victim == "worker" else 1)


async def _ready(http: httpx2.AsyncClient, stack: DevStack) -> bool:
    try:
        return (await http.get(f"{stack.url}/readyz")).status_code == 200
    except httpx2.HTTPError:
        return False
