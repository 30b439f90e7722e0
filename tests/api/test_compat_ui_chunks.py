"""Coming back to a run by the number of chunks a client has. Contract section 5, "Vercel AI SDK"."""

from __future__ import annotations

import httpx2
import pytest

from broker.events import TextDelta
from tests.api.conftest import StartNode
from tests.api.fake_door import FakeDoor
from tests.api.raw import RawClient
from tests.api.reading import AGAIN, DONE, STARTED, WHOLE
from tests.api.test_compat_ui import PATH, QUESTION, ROUTE, asked, chunks, read
from tests.support.waiting import wait_until


async def test_a_run_goes_on_at_any_chunk(start_node: StartNode, door: FakeDoor) -> None:
    """By the run's id, for whoever has had so many; live, and behind a restart."""
    node = await start_node()
    generation = await asked(node, door, {"messages": QUESTION, "model": "demo/demo-1"})
    door.append(generation, STARTED, TextDelta(0, "void"), AGAIN, *WHOLE[1:])
    whole = chunks(await read(node, f"{ROUTE}/{generation}/stream?startIndex=0"))
    for number in range(len(whole) + 1):
        some = await read(node, f"{ROUTE}/{generation}/stream?startIndex={number}")
        assert chunks(some) == whole[number:]
        assert "tail-index" not in some.head
        assert some.body.endswith(b"data: [DONE]\n\n")
    for number in range(1, len(whole) + 3):
        some = await read(node, f"{ROUTE}/{generation}/stream?startIndex=-{number}")
        assert chunks(some) == whole[-number:]
        assert f"x-workflow-stream-tail-index: {len(whole) - 1}\r\n" in some.head


async def test_a_run_that_goes_on_is_followed_from_its_tail(start_node: StartNode, door: FakeDoor) -> None:
    """Who has all chunks there are gets those that come."""
    node = await start_node()
    generation = await asked(node, door)
    door.append(generation, STARTED, TextDelta(0, "Hel"))
    async with RawClient(node.port) as positive, RawClient(node.port) as negative:
        assert await positive.get(f"{ROUTE}/{generation}/stream?startIndex=4") == 200
        assert await negative.get(f"{PATH}/stream?startIndex=-1") == 200
        door.append(generation, TextDelta(0, "lo"), DONE)
        assert await positive.read_all() == await negative.read_all() == "last chunk"
    assert [chunk.get("delta", chunk["type"]) for chunk in chunks(positive)] == [
        "lo",
        "text-end",
        "finish-step",
        "finish",
    ]
    assert chunks(negative)[0]["delta"] == "Hel"
    assert chunks(negative)[1:] == chunks(positive)


async def test_chunks_that_were_lost_are_waited_for(
    start_node: StartNode, door: FakeDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log that lost its tail gets it back from its writer; what it never had is refused."""
    node = await start_node()
    generation = await asked(node, door)
    door.append(generation, STARTED)
    async with RawClient(node.port) as client:
        client.send(f"GET {ROUTE}/{generation}/stream?startIndex=3 HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await wait_until(lambda: door.reading == 1)
        door.append(generation, TextDelta(0, "a"), DONE)
        assert await client.read_head() == 200
        await client.read_all()
    assert chunks(client)[0] == {"type": "text-delta", "id": "t1", "delta": "a"}
    monkeypatch.setattr("api.compat_ui.REPAIR_S", 0.02)
    running = await asked(node, door)
    for name in (generation, running):
        async with RawClient(node.port) as client:
            assert await client.get(f"{ROUTE}/{name}/stream?startIndex=99") == 400


@pytest.mark.parametrize("number", ["", "x", "1.5", "٣", "12345678901"])
async def test_what_is_no_number_is_refused(client: httpx2.AsyncClient, door: FakeDoor, number: str) -> None:
    """400, naming it."""
    generation = door.create(*WHOLE)
    answer = await client.get(f"{ROUTE}/{generation}/stream", params={"startIndex": number})
    assert answer.status_code == 400
    assert "startIndex" in answer.text


async def test_a_run_that_is_not_there_is_no_chat(client: httpx2.AsyncClient, door: FakeDoor) -> None:
    """404 and 410 by a run's id; by a chat's whose answer nobody waits for, an end at once: a 204 is asked again."""
    assert (await client.get(f"{ROUTE}/gen_x/stream?startIndex=0")).status_code == 404
    generation = door.create(*WHOLE)
    await door.chats.begin("default", "c", generation, 1)
    await door.chats.settle(generation)
    for chat in ("c", "d"):
        ended = await client.get(f"{ROUTE}/{chat}/stream?startIndex=0")
        assert (ended.status_code, ended.headers["x-vercel-ai-ui-message-stream"]) == (200, "v1")
        assert ended.text == 'data: {"type":"finish"}\n\ndata: [DONE]\n\n'
    door.expire(generation)
    assert (await client.get(f"{ROUTE}/{generation}/stream?startIndex=0")).status_code == 410
