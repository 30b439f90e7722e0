"""WebSockets on the whole service: interleaved generations, cuts, and sockets that are behind."""

from __future__ import annotations

import contextlib
import itertools
import random
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed, WebSocketException

from rejoinder.dev import DevStack
from tests.api.socket_client import SocketClient, open_socket
from tests.support.history import TERMINAL, Seen, Viewer, answer, check
from tests.support.http_viewer import watch_once
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.integration]

ENDLESS = 10_000
"""Tokens of an answer that runs until the test cancels it, however long the machine stood still."""
CUTS = 30


def port(url: str) -> int:
    """The port of an address."""
    return int(url.rpartition(":")[2])


def body(tokens: int, rate: float) -> dict[str, Any]:
    """A demo generation."""
    return {"model": "demo/demo-1", "input": "Go on.", "provider_options": {"tokens": tokens, "rate": rate}}


async def truths(http: httpx2.AsyncClient, url: str, generations: list[str]) -> dict[str, list[Seen]]:
    """Each generation's whole log, read exactly."""
    logs: dict[str, list[Seen]] = {}
    for generation in generations:
        viewer = Viewer("truth", generation)
        await watch_once(http, url, viewer, replay="exact")
        logs[generation] = [seen for seen in viewer.seen if seen.id]
    return logs


async def read_for(client: SocketClient, viewers: dict[str, Viewer], events: int) -> None:
    """Hear so many events with an id, or to the end of all generations."""
    heard = 0
    while heard < events and not all(ended(viewer) for viewer in viewers.values()):
        message = await client.hear()
        assert message["type"] == "event"
        viewers[message["generation"]].seen.append(Seen(message["id"], message["event"]))
        heard += message["id"] is not None


async def go_on(client: SocketClient, viewers: dict[str, Viewer], *, cancel: bool) -> None:
    """Read on, where each of those that run was left; ``cancel``: and have them end."""
    for generation, viewer in viewers.items():
        if not ended(viewer):
            await client.say("subscribe", id=generation, after=last(viewer))
            if cancel:
                await client.say("cancel", id=generation)


def ended(viewer: Viewer) -> bool:
    """Whether it has the terminal event."""
    return bool(viewer.seen) and viewer.seen[-1].kind in TERMINAL


def last(viewer: Viewer) -> str | None:
    """Where it stands."""
    return next((seen.id for seen in reversed(viewer.seen) if seen.id), None)


@pytest.mark.slow
async def test_many_generations_survive_cuts_on_one_socket() -> None:
    """Twelve at once, cut after 1-60 events again and again, each time to the other node: nothing lost or twice.

    Half of them end by themselves, the others when there were cuts enough.
    """
    rng = random.Random(7)
    async with DevStack(port=0, isolated=True) as stack, httpx2.AsyncClient(timeout=30) as http:
        nodes = itertools.cycle(stack.nodes.values())
        viewers: dict[str, Viewer] = {}
        async with open_socket(port(next(nodes))) as client:
            for ref in range(12):
                await client.say("submit", ref=ref, request=body(ENDLESS if ref % 2 else 120, 80))
                message = await client.until("accepted")
                assert message["ref"] == ref
                viewers[message["id"]] = Viewer(f"g{ref}", message["id"])
        cuts = 0
        while not all(map(ended, viewers.values())):
            async with open_socket(port(next(nodes))) as client:
                await go_on(client, viewers, cancel=cuts >= CUTS)
                await read_for(client, viewers, rng.randint(1, 60))
                client.connection.transport.abort()
            cuts += 1
        logs = await truths(http, stack.url, list(viewers))
        records = [(await http.get(f"{stack.url}/v1/generations/{name}")).json() for name in viewers]
    assert check(list(viewers.values()), logs) == []
    assert [answer(viewer.seen) for viewer in viewers.values()] == [record["output"]["text"] for record in records]
    assert cuts >= CUTS


async def test_generations_come_side_by_side_and_a_killed_node_costs_nothing() -> None:
    """Through the balancer of `rejoinder dev`; what the sockets say when a node dies is not to be had."""
    async with DevStack(port=0, isolated=True) as stack, httpx2.AsyncClient(timeout=30) as http:
        viewers: dict[str, Viewer] = {}
        async with open_socket(port(stack.url)) as client:
            for ref in range(4):
                await client.say("submit", ref=ref, request=body(ENDLESS, 60))
                message = await client.until("accepted")
                viewers[message["id"]] = Viewer(f"g{ref}", message["id"])
            for generation, seen in client.events.items():
                viewers[generation].seen += seen
            while min(len(viewer.seen) for viewer in viewers.values()) <= 8:
                await read_for(client, viewers, 1)
            assert not any(map(ended, viewers.values()))
            for name in stack.nodes:
                stack.kill(name)
            with contextlib.suppress(ConnectionClosed):
                await read_for(client, viewers, ENDLESS)
        while not all(map(ended, viewers.values())):
            await wait_until(lambda: _ready(http, stack.url))
            with contextlib.suppress(OSError, WebSocketException):
                async with open_socket(port(stack.url)) as client:
                    await go_on(client, viewers, cancel=True)
                    await read_for(client, viewers, ENDLESS)
        logs = await truths(http, stack.url, list(viewers))
    assert check(list(viewers.values()), logs) == []


async def _ready(http: httpx2.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(f"{url}/readyz")).status_code == 200
    except httpx2.HTTPError:
        return False
