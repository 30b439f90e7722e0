"""Readers that wait at the tail, perhaps for hours: what they have read is let go of."""

from __future__ import annotations

import pytest

from broker.client import Broker
from broker.settings import Settings
from tests.api.raw import RawClient
from tests.conftest import MakeSettings
from tests.integration.test_ws_behind import PIECE, Held, StartNode, held, running, start_node
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration
__all__ = ["held", "start_node"]

LAST = "the last word"


@pytest.fixture(params=["direct", "plain", "poll"])
def settings(request: pytest.FixtureRequest, make_settings: MakeSettings) -> Settings:
    """One run for each way."""
    return make_settings(lease_s=30, live=request.param)


@pytest.mark.parametrize("name", ["native", "text", "anthropic"])
async def test_who_has_caught_up_holds_nothing(broker: Broker, start_node: StartNode, held: Held, name: str) -> None:
    """READ-14, once a reader that was behind is at the tail again."""
    node = await start_node(live=broker.settings.live)
    (generation, writer), *_ = (await running(broker, 1)).items()
    await writer.say("first")
    async with RawClient(node.port, receive_buffer=8192) as client:
        await client.get(f"/v1/generations/{generation}/events?format={name}")
        await client.read_until(b"first")
        client.pause()
        for _ in range(100):
            await writer.say(*[PIECE] * 4)
        await writer.say(LAST)
        client.go_on()
        await client.read_until(LAST.encode())
        await wait_until(lambda: not held())
