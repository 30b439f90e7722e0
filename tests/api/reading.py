"""Logs to read, and what was read of them."""

from __future__ import annotations

from broker.events import Completed, Started, TextDelta
from tests.api.conftest import RunningNode
from tests.api.fake_door import EPOCH
from tests.api.raw import RawClient
from tests.support.whatwg import EventSourceParser, ServerSentEvent

STARTED = Started(1, "restart", "demo", "demo-1")
AGAIN = Started(2, "restart", "demo", "demo-1")
DONE = Completed("stop")
WHOLE = (STARTED, TextDelta(0, "Hel"), TextDelta(0, "lo"), DONE)
NDJSON = "application/x-ndjson"


def url(generation: str, query: str = "") -> str:
    """The path of a generation's events."""
    return f"/v1/generations/{generation}/events{query}"


def parsed(client: RawClient) -> list[ServerSentEvent]:
    """The events that came; nothing that a browser would ignore may be among them."""
    parser = EventSourceParser()
    events = parser.feed(client.body)
    assert (parser.empty_blocks, parser.ignored, parser.pending) == (0, [], False)
    return events


def ids(client: RawClient) -> list[str]:
    """The ids of the events that have one of their own, without the epoch."""
    lines = client.body.decode().splitlines()
    return [line.partition(f"{EPOCH}-")[2] for line in lines if line.startswith("id: ")]


async def read(node: RunningNode, path: str, **headers: str) -> RawClient:
    """Read a stream to its end."""
    async with RawClient(node.port) as client:
        assert await client.get(path, **headers) == 200
        await client.read_all()
    return client
