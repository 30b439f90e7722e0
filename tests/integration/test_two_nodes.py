"""The whole service as processes: viewers that are cut at random come back on the other node."""

from __future__ import annotations

import asyncio
import itertools
import random

import httpx2
import pytest

from rejoinder.dev import DevStack
from tests.support.history import Seen, Viewer, answer, check
from tests.support.http_viewer import ended, watch_once

pytestmark = [pytest.mark.integration, pytest.mark.slow]

VIEWERS = 50
CUTS = 6
ENDLESS = 100_000
"""Tokens of an answer that runs until there were cuts enough, however long the machine stood still."""


async def test_fifty_viewers_over_two_nodes_lose_nothing() -> None:
    """Each viewer is cut after 1-10 events again and again, until all have been a few times: one text, whole."""
    async with DevStack(port=0, isolated=True) as stack, httpx2.AsyncClient(timeout=30) as http:
        body = {"model": "demo/demo-1", "input": "Go on.", "provider_options": {"tokens": ENDLESS, "rate": 100}}
        made = (await http.post(f"{stack.url}/v1/generations", json=body)).json()
        rng = random.Random(11)
        connections = [0] * VIEWERS

        async def watch(number: int) -> Viewer:
            viewer = Viewer(f"v{number}", made["id"])
            nodes = itertools.cycle(list(stack.nodes.values())[:: 1 if number % 2 else -1])
            while not ended(viewer):
                cut = rng.randint(1, 10)
                await watch_once(http, next(nodes), viewer, cut_after=cut, replay=rng.choice(("merged", "exact")))
                connections[number] += 1
                if min(connections) == CUTS:
                    await http.post(f"{stack.url}/v1/generations/{made['id']}/cancel")
            return viewer

        viewers = await asyncio.gather(*(watch(number) for number in range(VIEWERS)))
        truth = Viewer("truth", made["id"])
        await watch_once(http, stack.url, truth, replay="exact")
        record = (await http.get(f"{stack.url}/v1/generations/{made['id']}")).json()
    log: list[Seen] = [seen for seen in truth.seen if seen.id]
    assert check([*viewers, truth], {made["id"]: log}) == []
    assert {answer(viewer.seen) for viewer in viewers} == {record["output"]["text"]}
    assert record["status"] == "cancelled"
    assert min(connections) >= CUTS
