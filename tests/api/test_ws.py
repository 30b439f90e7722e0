"""``/v1/ws``: what is said on it, and what comes of it."""

from __future__ import annotations

from broker.events import TextDelta
from tests.api.conftest import StartNode
from tests.api.fake_door import FakeDoor
from tests.api.reading import DONE, STARTED
from tests.api.socket_client import open_socket
from tests.support.waiting import wait_until

REQUEST = {"model": "demo/demo-1", "input": "Go on."}


async def test_a_submit_is_accepted_and_read_to_its_end(start_node: StartNode, door: FakeDoor) -> None:
    """The answer comes before any event; the end comes last, and then nothing."""
    node = await start_node()
    async with open_socket(node.port) as client:
        await client.say("submit", ref="a", request=REQUEST)
        message = await client.hear()
        assert message == {"type": "accepted", "ref": "a", "id": message["id"]}
        await client.until("stream.live")
        door.append(message["id"], STARTED, TextDelta(0, "Hi"), DONE)
        await client.until("generation.completed")
        await client.barrier()
    assert client.kinds(message["id"]) == [
        "generation.created",
        "stream.live",
        "generation.started",
        "text.delta",
        "generation.completed",
    ]
    await wait_until(lambda: node.metrics.viewers == 0 and node.metrics.sockets == 0)
