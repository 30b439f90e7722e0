"""useChat's routes: submit, come back by chat or by chunk, stop. Contract section 5, "Vercel AI SDK"."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from api.protocol import in_kernel
from broker.events import TextDelta
from tests.api.conftest import MakeClient, RunningNode, StartNode
from tests.api.fake_door import FakeDoor
from tests.api.raw import RawClient
from tests.api.reading import DONE, STARTED, WHOLE
from tests.support.ui_message import Message
from tests.support.waiting import wait_until
from tests.support.whatwg import EventSourceParser

ROUTE = "/v1/ui/chat"
QUESTION = [{"id": "q", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}]
ASK: dict[str, Any] = {"id": "c/1", "messages": QUESTION, "trigger": "submit-message", "model": "demo/demo-1"}
PATH = f"{ROUTE}/c%2F1"


async def post(client: RawClient, body: Any, path: str = ROUTE, content_type: str | None = None) -> int:
    """Post JSON."""
    raw = json.dumps(body)
    kind = f"Content-Type: {content_type}\r\n" if content_type else ""
    client.send(f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{kind}Content-Length: {len(raw)}\r\n\r\n{raw}".encode())
    return await client.read_head()


def chunks(client: RawClient) -> list[Any]:
    """What came, without the end mark."""
    parser = EventSourceParser()
    events = parser.feed(client.body)
    assert (parser.empty_blocks, parser.ignored) == (0, [])
    return [json.loads(event.data) for event in events if event.data != "[DONE]"]


def text(client: RawClient) -> str:
    """What is shown."""
    message = Message()
    for chunk in chunks(client):
        message.take(chunk)
    return "".join(part.text for part in message.parts)


async def read(node: RunningNode, path: str) -> RawClient:
    """A stream to its end."""
    async with RawClient(node.port) as client:
        assert await client.get(path) == 200
        assert await client.read_all() == "last chunk"
    return client


async def asked(node: RunningNode, door: FakeDoor, body: dict[str, Any] = ASK) -> str:
    """Post, and hang up once the answer has begun; returns the generation."""
    async with RawClient(node.port) as client:
        assert await post(client, body) == 200
        await client.read_until(b'"start"')
    await wait_until(lambda: door.reading == 0)
    return list(door.logs)[-1]


@pytest.mark.parametrize("content_type", [None, "text/plain;charset=UTF-8", "application/json"])
async def test_a_question_is_answered_with_its_stream(
    start_node: StartNode, door: FakeDoor, content_type: str | None
) -> None:
    """Whatever the body's media type says (R8)."""
    node = await start_node()
    async with RawClient(node.port) as client:
        assert await post(client, {**ASK, "theme": "dark", "naïve": 1}, content_type=content_type) == 200
        (generation,) = door.logs
        for header in (
            *(f"x-workflow-run-id: {generation}", f"x-generation-id: {generation}", "x-rejoinder-ignored: theme"),
            *("x-vercel-ai-ui-message-stream: v1", "content-type: text/event-stream", "x-accel-buffering: no"),
        ):
            assert f"{header}\r\n".lower() in client.head
        await client.read_until(b'"start"')
        door.append(generation, *WHOLE)
        assert await client.read_all() == "last chunk"
    assert text(client) == "Hello"
    assert client.body.endswith(b"data: [DONE]\n\n")
    assert [chunk["type"] for chunk in chunks(client)][-1] == "finish"
    assert chunks(client)[0]["messageId"] == generation.replace("gen_", "msg_")
    (request,) = door.requests
    assert request.model_dump(exclude_unset=True)["messages"] == [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize("chat", ["a/stream", "a/", "../a", "a%2Fb", "é\N{GRINNING FACE}", "two\nlines\r\n", "\0"])
async def test_a_chat_may_be_called_anything(start_node: StartNode, door: FakeDoor, chat: str) -> None:
    """And is found under that name again, and stopped."""
    node = await start_node()
    generation = await asked(node, door, {**ASK, "id": chat})
    path = f"{ROUTE}/{quote(chat, safe='')}"
    async with RawClient(node.port) as client:
        assert await client.get(f"{path}/stream") == 200
        assert f"x-workflow-run-id: {generation}\r\n".lower() in client.head
    async with RawClient(node.port) as client:
        assert await post(client, {}, f"{path}/stop") == 200
    async with RawClient(node.port) as client:
        assert await client.get(f"{path}/stream") == 204


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"{", 400, None),
        (b"[]", 400, None),
        (b'"\xff"', 400, None),
        (json.dumps({"model": "demo/demo-1"}).encode(), 422, "messages"),
        (json.dumps({"messages": QUESTION}).encode(), 422, "model"),
        (json.dumps({**ASK, "model": "nobody/m"}).encode(), 404, None),
    ],
)
async def test_what_is_wrong_with_a_question_is_said(
    client: httpx2.AsyncClient, door: FakeDoor, body: bytes, status: int, field: str | None
) -> None:
    """UseChat shows the body as the error's message."""
    answer = await client.post(ROUTE, content=body)
    assert answer.status_code == status, answer.text
    assert (field or "") in answer.text
    assert door.logs == {}


async def test_a_page_that_comes_back_gets_the_whole_message(start_node: StartNode, door: FakeDoor) -> None:
    """While it is made: from its first chunk, with the same id; and after that, until one reader has had its end."""
    node = await start_node()
    generation = await asked(node, door)
    door.append(generation, STARTED, TextDelta(0, "Hel"))
    async with RawClient(node.port) as client:
        assert await client.get(f"{PATH}/stream") == 200
        await client.read_until(b'"Hel"')
        assert chunks(client)[0]["messageId"] == generation.replace("gen_", "msg_")
    await wait_until(lambda: door.reading == 0)
    door.append(generation, TextDelta(0, "lo"), DONE)
    slept = await read(node, f"{PATH}/stream")
    assert text(slept) == "Hello"
    async with RawClient(node.port) as client:
        assert await client.get(f"{PATH}/stream") == 204


async def test_a_reader_who_was_cut_off_before_the_end_leaves_it_to_be_fetched(
    start_node: StartNode, door: FakeDoor
) -> None:
    """Only who was written the finish has had it."""
    node = await start_node()
    generation = await asked(node, door)
    async with RawClient(node.port) as client:
        await client.get(f"{PATH}/stream")
        await client.read_until(b'"start"')
    await wait_until(lambda: door.reading == 0)
    door.append(generation, *WHOLE)
    assert door.chats.settled == set()
    assert text(await read(node, f"{PATH}/stream")) == "Hello"
    assert door.chats.settled == {generation}


async def test_an_end_that_never_arrived_is_there_to_be_fetched(start_node: StartNode, door: FakeDoor) -> None:
    """It was written, into the buffers of a connection whose other side had stopped taking anything."""
    node = await start_node()
    generation = await asked(node, door)
    async with RawClient(node.port, receive_buffer=2048) as client:
        await client.get(f"{PATH}/stream")
        await client.read_until(b'"start"')
        client.pause()
        door.append(generation, STARTED, TextDelta(0, "x" * 40_000), DONE)
        transport = node.connection.transport
        await wait_until(lambda: transport.get_write_buffer_size() + in_kernel(transport) > 20_000)
        await wait_until(lambda: door.reading == 0)
    await wait_until(lambda: node.metrics.viewers == 0)
    assert door.chats.settled == set()
    assert text(await read(node, f"{PATH}/stream")) == "x" * 40_000
    assert door.chats.settled == {generation}


async def test_there_is_nothing_to_come_back_to(client: httpx2.AsyncClient, door: FakeDoor) -> None:
    """204 is no error to useChat: an unknown chat, one that was deleted, one whose log has expired, another's."""
    for path in ("/nobody", "/gen_1", PATH.removeprefix(ROUTE)):
        assert (await client.get(f"{ROUTE}{path}/stream")).status_code == 204
    gone, old = door.create(), door.create(*WHOLE)
    for name, generation in (("gone", gone), ("old", old)):
        await door.chats.begin("default", name, generation, 1)
    await door.delete(gone)
    door.expire(old)
    for path in ("/gone", "/old"):
        assert (await client.get(f"{ROUTE}{path}/stream")).status_code == 204
    door.away = True
    assert (await client.get(f"{ROUTE}/gone/stream")).status_code == 503


async def test_a_chat_is_its_tenants(make_client: MakeClient, door: FakeDoor) -> None:
    """Another tenant's chat of the same name is another chat, and its runs are not there."""
    generation = door.create(*WHOLE, tenant="a")
    await door.chats.begin("a", "c", generation, 1)
    async with make_client(api_keys="a:ka,b:kb") as client:
        theirs = {"authorization": "Bearer kb"}
        assert (await client.get(f"{ROUTE}/c/stream", headers=theirs)).status_code == 204
        assert (await client.get(f"{ROUTE}/{generation}/stream?startIndex=0", headers=theirs)).status_code == 404
        for name in ("c", generation):
            stopped = await client.post(f"{ROUTE}/{name}/stop", headers=theirs)
            assert stopped.json() == {"success": True}
        assert (await client.post(ROUTE, json=ASK)).status_code == 401
    assert door.chats.settled == set()


async def test_the_latest_answer_is_the_chats(start_node: StartNode, door: FakeDoor) -> None:
    """A new question leaves the answer before it behind."""
    node = await start_node()
    await asked(node, door)
    second = await asked(node, door)
    door.append(second, *WHOLE)
    assert chunks(await read(node, f"{PATH}/stream"))[0]["messageId"] == second.replace("gen_", "msg_")
    assert door.chats.lives == [(3600 + 2 * 3600) * 1000] * 2


# -- stop -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"{}", b'{"activeStreamId":null}', b'{"activeStreamId":"RUN","x":1}'])
async def test_a_stop_cancels_and_leaves_nothing_to_come_back_to(
    client: httpx2.AsyncClient, door: FakeDoor, body: bytes
) -> None:
    """At once, also while its worker has not ended it yet; twice does no harm."""
    door.obeys_cancel = False
    generation = door.create(STARTED)
    await door.chats.begin("default", "c/1", generation, 1)
    for _ in range(2):
        answer = await client.post(f"{PATH}/stop", content=body.replace(b"RUN", generation.encode()))
        assert (answer.status_code, answer.json()) == (200, {"success": True})
        assert (await client.get(f"{PATH}/stream")).status_code == 204
    door.obeys_cancel = True
    await client.post(f"{PATH}/stop", content=body.replace(b"RUN", generation.encode()))
    assert door.logs[generation].record.status == "cancelled"


async def test_a_stop_for_an_earlier_answer_does_nothing(client: httpx2.AsyncClient, door: FakeDoor) -> None:
    """It was late: the chat has gone on."""
    first, second = door.create(STARTED), door.create(STARTED)
    for generation in (first, second):
        await door.chats.begin("default", "c", generation, 1)
    answer = await client.post(f"{ROUTE}/c/stop", json={"activeStreamId": first})
    assert answer.json() == {"success": True}
    assert [door.logs[one].record.status for one in (first, second)] == ["running", "running"]
    assert door.chats.settled == set()


async def test_a_run_without_a_chat_is_stopped_by_its_own_id(client: httpx2.AsyncClient, door: FakeDoor) -> None:
    """WorkflowChatTransport names no chat; and where there is nothing to stop, that is no error."""
    generation = door.create(STARTED)
    for name in (generation, "gen_unknown", "nobody"):
        assert (await client.post(f"{ROUTE}/{name}/stop")).json() == {"success": True}
    assert door.logs[generation].record.status == "cancelled"
    assert (await client.post(f"{ROUTE}/c/stop", content=b"{")).status_code == 400


async def test_whoever_reads_is_told_of_the_stop(start_node: StartNode, door: FakeDoor) -> None:
    """The message is finished, and not as if it were whole."""
    node = await start_node()
    async with RawClient(node.port) as client, RawClient(node.port) as other:
        await post(client, ASK)
        await client.read_until(b'"start"')
        door.append(next(iter(door.logs)), STARTED, TextDelta(0, "Hel"))
        assert await post(other, {}, f"{PATH}/stop") == 200
        assert await client.read_all() == "last chunk"
    assert [chunk["type"] for chunk in chunks(client)][-4:] == ["text-end", "abort", "finish-step", "finish"]
    assert chunks(client)[-1]["finishReason"] == "other"
