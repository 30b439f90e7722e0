"""Other vendors' wires over broker, worker and node together, in one process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from api.app import create_app
from broker.client import Broker
from tests.support.whatwg import EventSourceParser

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("worker")]

LONG = {"tokens": 2300, "rate": 0, "reasoning": 3}
"""Three pages of the log."""


@pytest.fixture
async def client(broker: Broker) -> AsyncIterator[httpx2.AsyncClient]:
    """Of a node on the real broker."""
    app = create_app(broker.settings, broker=broker)
    async with app.router.lifespan_context(app):
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", timeout=20) as made:
            yield made


def told(answer: httpx2.Response) -> list[tuple[str, str]]:
    """Id and data of each frame."""
    assert answer.status_code == 200, answer.text
    return [(event.last_event_id, event.data) for event in EventSourceParser().feed(answer.content)]


async def generate(broker: Broker, client: httpx2.AsyncClient, **options: Any) -> str:
    """A generation that has ended."""
    body = {"model": "demo/demo-1", "input": "x", "delivery": {"batch": "none"}, "provider_options": options}
    made = (await client.post("/v1/generations", json=body)).json()
    record = await broker.wait(made["id"], 20)
    assert record.status == "completed"
    return made["id"]


@pytest.mark.parametrize("fmt", ["openai.chat", "openai.responses", "anthropic", "ai-sdk"])
async def test_a_long_answer_is_taken_up_anywhere(broker: Broker, client: httpx2.AsyncClient, fmt: str) -> None:
    """On the first page, at its edge, behind it, in the last entry: each time exactly the rest, and from the cache."""
    generation = await generate(broker, client, **LONG)
    url = f"/v1/generations/{generation}/events?format={fmt}&replay=exact"
    whole = told(await client.get(url))
    assert len(whole) > 2000
    edges = [index for index, (one, _) in enumerate(whole) if one.endswith(("-1000", "-1001", "-2000"))]
    for at in [0, 3, 500, *edges, 1500, len(whole) - 2]:
        for _ in range(2):
            rest = await client.get(url, headers={"last-event-id": whole[at][0]})
            assert told(rest) == whole[at + 1 :]
    assert (await client.get(url, headers={"last-event-id": whole[-1][0]})).status_code == 204


async def test_a_response_from_first_to_last(broker: Broker, client: httpx2.AsyncClient) -> None:
    """Streamed, looked at, streamed again behind any number, gone on from, deleted."""
    ask = {"model": "demo/demo-1", "input": "Tell me", "instructions": "Be brief", "metadata": {"a": "b"}}
    events = [json.loads(data) for _, data in told(await client.post("/v1/responses", json={**ask, "stream": True}))]
    last = events[-1]["response"]
    url = f"/v1/responses/{last['id']}"
    assert (await client.get(url)).json() == last
    assert (last["instructions"], last["metadata"], last["status"]) == ("Be brief", {"a": "b"}, "completed")
    for at in (0, 4, len(events) - 2):
        rest = told(await client.get(f"{url}?stream=true&starting_after={at}"))
        assert [json.loads(data) for _, data in rest] == events[at + 1 :]
    assert (await client.get(f"{url}?stream=true&starting_after={len(events)}")).status_code == 400
    assert (await client.get(f"{url}?stream=true&starting_after={len(events) - 1}")).text == ""
    again = await client.post("/v1/responses", json={**ask, "previous_response_id": last["id"]})
    submission = await broker.submission("gen_" + again.json()["id"].removeprefix("resp_"))
    assert submission.request is not None
    said = [(message.role, message.content) for message in submission.request.conversation()]
    assert [role for role, _ in said] == ["user", "assistant", "user"]
    assert (await client.delete(url)).json()["deleted"] is True
    assert (await client.get(url)).status_code == 404
    gone = await client.post("/v1/responses", json={**ask, "previous_response_id": last["id"]})
    assert (gone.status_code, gone.json()["error"]["param"]) == (400, "previous_response_id")


async def test_an_answer_in_the_background_is_cancelled(client: httpx2.AsyncClient) -> None:
    """And says so in its resource and its stream; saying it twice does no harm."""
    ask = {"model": "demo/demo-1", "input": "x", "background": True}
    made = (await client.post("/v1/responses", json=ask)).json()
    stopped = (await client.post(f"/v1/responses/{made['id']}/cancel")).json()
    assert stopped["status"] == "cancelled"
    assert (await client.post(f"/v1/responses/{made['id']}/cancel")).json() == stopped
    events = [json.loads(data) for _, data in told(await client.get(f"/v1/responses/{made['id']}?stream=true"))]
    assert (events[-1]["type"], events[-1]["response"]) == ("response.incomplete", stopped)


async def test_a_retry_of_a_post_joins_the_first(broker: Broker, client: httpx2.AsyncClient) -> None:
    """WIRE-11: an SDK whose first try was cut off gets that answer, not another one."""
    body = {"model": "demo/demo-1", "messages": [{"role": "user", "content": "x"}]}
    first = await client.post("/v1/chat/completions", json=body, headers={"x-stainless-retry-count": "0"})
    again = await client.post("/v1/chat/completions", json=body, headers={"x-stainless-retry-count": "1"})
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert len((await broker.list()).records) == 1
