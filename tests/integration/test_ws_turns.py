"""Many generations on one socket that is behind, whichever way live entries travel: nothing held, nothing lost."""

from __future__ import annotations

import pytest

from broker.client import Broker
from broker.settings import Settings
from tests.conftest import MakeSettings
from tests.integration.test_ws_behind import (
    GENERATIONS,
    PIECE,
    Held,
    StartNode,
    go_on,
    held,
    logs_of,
    narrow,
    pause,
    running,
    start_node,
    subscribe_all,
)
from tests.support.history import check
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration
__all__ = ["held", "start_node"]


@pytest.fixture(params=["direct", "plain", "poll"])
def settings(request: pytest.FixtureRequest, make_settings: MakeSettings) -> Settings:
    """One run for each way."""
    return make_settings(lease_s=30, live=request.param)


async def test_only_whose_turn_it_is_holds_a_page(broker: Broker, start_node: StartNode, held: Held) -> None:
    """WS-11, also once every reader has had its turns: who waits for the next one keeps its position only."""
    node = await start_node(live=broker.settings.live)
    writers = await running(broker, GENERATIONS)
    async with narrow(node) as client:
        await subscribe_all(client, list(writers))
        for _ in range(5):
            pause(client)
            for _ in range(20):
                for writer in writers.values():
                    await writer.say(PIECE)
            # What has just been heard is let go of as soon as its reader is awake.
            await wait_until(lambda: len(held()) <= 1)
            go_on(client)
            for _ in range(GENERATIONS):
                await client.hear()
        for writer in writers.values():
            await writer.end()
        for _ in range(GENERATIONS):
            await client.until("generation.completed")
    assert check([client.viewer(generation) for generation in writers], await logs_of(broker, list(writers))) == []


async def test_what_is_heard_is_whole_though_others_wait(broker: Broker, start_node: StartNode) -> None:
    """A turn that ends in the middle of what was heard live goes on from there."""
    node = await start_node(live=broker.settings.live)
    writers = await running(broker, GENERATIONS)
    async with narrow(node) as client:
        await subscribe_all(client, list(writers))
        pause(client)
        for _ in range(25):
            for writer in writers.values():
                await writer.say(*[PIECE] * 9)
        for writer in writers.values():
            await writer.end()
        go_on(client)
        for _ in range(GENERATIONS):
            await client.until("generation.completed")
    assert check([client.viewer(generation) for generation in writers], await logs_of(broker, list(writers))) == []
