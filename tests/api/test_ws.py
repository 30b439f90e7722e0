"""``/v1/ws``: what is said on it, and what comes of it."""

from __future__ import annotations

from typing import Any

import pytest

from broker.events import TextDelta
from tests.api.conftest import StartNode
from tests.api.fake_door import EPOCH, FakeDoor
from tests.api.reading import DONE, STARTED, WHOLE
from tests.api.socket_client import SocketClient, open_socket
from tests.support.waiting import wait_until

REQUEST = {"model": "demo/demo-1", "input": "Go on."}


async def submit(client: SocketClient, **fields: Any) -> str:
    """Submit; returns the id."""
    await client.say("submit", **{"ref": "r", "request": REQUEST, **fields})
    return str((await client.until("accepted"))["id"])


async def refusal(client: SocketClient, kind: str, **fields: Any) -> dict[str, Any]:
    """What is answered to a message that is refused."""
    await client.say(kind, **fields)
    return await client.until("error")


async def test_a_submit_is_accepted_and_read_to_its_end(start_node: StartNode, door: FakeDoor) -> None:
    """WS-5: the answer comes before any event; the end comes last, and then nothing."""
    node = await start_node()
    async with open_socket(node.port) as client:
        await client.say("submit", ref="a", request=REQUEST)
        message = await client.hear()
        assert message == {"type": "accepted", "ref": "a", "id": message["id"]}
        await client.until("stream.live")
        door.append(message["id"], STARTED, TextDelta(0, "Hi"), DONE)
        await client.until("generation.completed")
        await client.barrier()
        assert node.metrics.sockets == 1
    kinds = ["generation.created", "stream.live", "generation.started", "text.delta", "generation.completed"]
    assert client.kinds(message["id"]) == kinds
    assert client.events[message["id"]][1].id is None
    await wait_until(lambda: node.metrics.viewers == 0 and node.metrics.sockets == 0)
    assert node.metrics.submits == 1
    assert node.metrics.events == 4


async def test_live_entries_come_without_asgi_and_with_it(start_node: StartNode, door: FakeDoor) -> None:
    """The same messages, whichever way they take."""
    heard: list[list[Any]] = []
    generation = door.create(STARTED)
    for live in ("direct", "plain"):
        node = await start_node(live=live)
        async with open_socket(node.port) as client:
            await client.say("subscribe", id=generation)
            await client.until("stream.live")
            door.append(generation, TextDelta(0, live))
            await client.until("text.delta")
            heard.append([(seen.id, seen.kind) for seen in client.events[generation]][:3])
    assert heard[0][:2] == heard[1][:2]


async def test_a_subscription_begins_behind_its_position(start_node: StartNode, door: FakeDoor) -> None:
    """WS-6; replay is merged."""
    node = await start_node()
    generation = door.create(*WHOLE)
    async with open_socket(node.port) as client:
        await client.say("subscribe", id=generation, after=f"{EPOCH}-2")
        await client.until("generation.completed")
    merged, last = client.events[generation]
    assert (merged.id, merged.event["merged"]) == (f"{EPOCH}-4", 2)
    assert last.id == f"{EPOCH}-5"


async def test_a_position_of_another_log_resets(start_node: StartNode, door: FakeDoor) -> None:
    """Said with a null id; the whole log follows."""
    node = await start_node()
    generation = door.create(*WHOLE)
    async with open_socket(node.port) as client:
        await client.say("subscribe", id=generation, after="7-7")
        await client.until("generation.completed")
    first = client.events[generation][0]
    assert (first.id, first.event) == (None, {"type": "stream.reset", "reason": "position_not_in_log"})
    assert client.events[generation][1].id == f"{EPOCH}-1"


async def test_behind_the_end_there_is_nothing(start_node: StartNode, door: FakeDoor) -> None:
    """WS-8: what HTTP says with 204."""
    node = await start_node()
    generation = door.create(*WHOLE)
    async with open_socket(node.port) as client:
        answer = await refusal(client, "subscribe", id=generation, after=f"{EPOCH}-5")
    assert (answer["code"], answer["id"], answer["op"]) == ("ended", generation, "subscribe")
    assert client.events == {}


async def test_nothing_comes_after_unsubscribe(start_node: StartNode, door: FakeDoor) -> None:
    """WS-7; the others go on, and it may be read again from where it was."""
    node = await start_node()
    one, other = door.create(STARTED), door.create(STARTED)
    async with open_socket(node.port) as client:
        for generation in (one, other):
            await client.say("subscribe", id=generation)
            await client.until("stream.live")
        await client.say("unsubscribe", id=one)
        await client.say("unsubscribe", id="gen_never")
        await client.barrier()
        assert node.metrics.viewers == 1
        for generation in (one, other):
            door.append(generation, TextDelta(0, "late"), DONE)
        await client.until("generation.completed")
        await client.barrier()
        assert client.kinds(one) == ["generation.created", "generation.started", "stream.live"]
        await client.say("subscribe", id=one, after=client.events[one][1].id)
        await client.until("generation.completed")
    assert client.kinds(one)[3:] == ["text.delta", "generation.completed"]
    assert client.kinds(other)[3:] == ["text.delta", "generation.completed"]


async def test_a_cancel_is_seen_by_who_reads(start_node: StartNode, door: FakeDoor) -> None:
    """WS-7: it has no answer of its own; the pong says that it has been handled."""
    node = await start_node()
    generation = door.create(STARTED)
    async with open_socket(node.port) as client:
        await client.say("subscribe", id=generation)
        await client.until("stream.live")
        await client.say("cancel", id=generation)
        await client.until("generation.cancelled")
        await client.barrier()
    assert client.others == [{"type": "pong"}]


async def test_one_key_is_one_generation(start_node: StartNode, door: FakeDoor) -> None:
    """Also on the same socket, where it is read once."""
    node = await start_node()
    async with open_socket(node.port) as client:
        first = await submit(client, idempotency_key="k")
        await client.until("stream.live")
        again = await submit(client, ref=7, idempotency_key="k")
        door.append(first, DONE)
        await client.until("generation.completed")
        await client.barrier()
        other = {**REQUEST, "input": "Something else."}
        conflict = await refusal(client, "submit", ref=8, request=other, idempotency_key="k")
    assert again == first
    assert client.others[1] == {"type": "accepted", "ref": 7, "id": first, "replayed": True}
    assert (conflict["ref"], conflict["code"], conflict["op"]) == (8, "idempotency_conflict", "submit")
    assert client.kinds(first) == ["generation.created", "stream.live", "generation.completed"]
    assert (len(door.requests), node.metrics.submits) == (1, 1)


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"request": {"model": "demo/demo-1"}}, "invalid_request", None),
        ({"request": {**REQUEST, "surprise": 1}}, "invalid_request", "surprise"),
        ({"request": 1}, "invalid_request", None),
        ({"request": {"model": "nobody/x", "input": "x"}}, "unknown_model", "model"),
        ({"request": {"model": "openai-responses/x", "input": "x", "stop": "END"}}, "invalid_request", "stop"),
        ({"idempotency_key": "a b"}, "invalid_request", "idempotency_key"),
    ],
)
async def test_a_request_that_is_not_meant_is_refused(
    start_node: StartNode, door: FakeDoor, fields: dict[str, Any], code: str, field: str | None
) -> None:
    """WS-5: judged like a POST; the socket goes on."""
    node = await start_node()
    async with open_socket(node.port) as client:
        answer = await refusal(client, "submit", **{"ref": "bad", "request": REQUEST, **fields})
        await client.barrier()
    assert (answer["ref"], answer["id"], answer["code"], answer.get("field")) == ("bad", None, code, field)
    assert answer["retryable"] is False
    assert door.requests == []


async def test_a_generation_that_cannot_be_read_is_said_by_its_id(start_node: StartNode, door: FakeDoor) -> None:
    """WS-9: absent, another tenant's, expired, no id at all, a bad position, one that is read already."""
    node = await start_node()
    foreign, old, running = door.create(tenant="other"), door.create(*WHOLE), door.create(STARTED)
    door.expire(old)
    async with open_socket(node.port) as client:
        for generation, code in ((foreign, "not_found"), (old, "log_expired"), ("no id", "not_found")):
            answer = await refusal(client, "subscribe", id=generation)
            assert (answer["id"], answer["ref"], answer["code"]) == (generation, None, code)
        answer = await refusal(client, "subscribe", id=running, after="x")
        assert (answer["code"], answer["field"]) == ("bad_event_id", "after")
        await client.say("subscribe", id=running)
        assert (await refusal(client, "subscribe", id=running))["code"] == "already_subscribed"
        answer = await refusal(client, "cancel", id=foreign)
        assert (answer["code"], answer["op"]) == ("not_found", "cancel")
        door.append(running, DONE)
        await client.until("generation.completed")
        door.lose(running)


async def test_a_log_that_is_lost_ends_its_subscription_only(start_node: StartNode, door: FakeDoor) -> None:
    """The other generation is read to its end."""
    node = await start_node()
    one, other = door.create(STARTED), door.create(STARTED)
    async with open_socket(node.port) as client:
        for generation in (one, other):
            await client.say("subscribe", id=generation)
            await client.until("stream.live")
        door.lose(one)
        answer = await client.until("error")
        assert (answer["id"], answer["code"]) == (one, "log_lost")
        door.append(other, DONE)
        await client.until("generation.completed")


async def test_a_socket_reads_only_so_many(start_node: StartNode, door: FakeDoor) -> None:
    """One that has ended makes room."""
    node = await start_node(ws_max_subscriptions=1)
    one, other = door.create(STARTED), door.create(STARTED)
    async with open_socket(node.port) as client:
        await client.say("subscribe", id=one)
        await client.until("stream.live")
        assert (await refusal(client, "subscribe", id=other))["code"] == "too_many_subscriptions"
        assert (await refusal(client, "submit", ref=1, request=REQUEST))["code"] == "too_many_subscriptions"
        door.append(one, DONE)
        await client.until("generation.completed")
        await wait_until(lambda: node.metrics.viewers == 0)
        await client.say("subscribe", id=other)
        await client.until("stream.live")
    assert door.requests == []


async def test_submits_are_counted_like_posts(start_node: StartNode, door: FakeDoor) -> None:
    """And Redis's absence is said, with the time to wait."""
    node = await start_node(rate_limit="1/minute")
    async with open_socket(node.port) as client:
        await submit(client)
        answer = await refusal(client, "submit", ref=2, request=REQUEST)
        assert (answer["code"], answer["retryable"]) == ("rate_limited", True)
        assert 0 < answer["retry_after_s"] <= 60
    free = await start_node()
    door.away = True
    async with open_socket(free.port) as client:
        answer = await refusal(client, "submit", ref=3, request=REQUEST)
        assert (answer["code"], answer["retry_after_s"]) == ("log_unavailable", 2.0)
