"""Formats with a memory on a real socket: live, written directly, cut, resumed, and told that an attempt is void."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from broker.events import Completed, Retrying, Started, TextDelta
from broker.values import ErrorInfo
from tests.api.conftest import RunningNode, StartNode
from tests.api.fake_door import EPOCH, FakeDoor
from tests.api.raw import RawClient

FIRST, AGAIN = Started(1, "restart", "demo", "demo-1"), Started(2, "restart", "demo", "demo-1")
DONE = Completed("stop")
FOLDS = ("openai.chat", "openai.responses", "anthropic")
every = pytest.mark.parametrize("fmt", FOLDS)
modes = pytest.mark.parametrize("live", ["direct", "plain"])


def url(generation: str, fmt: str, query: str = "") -> str:
    """The events of a generation in a format."""
    return f"/v1/generations/{generation}/events?format={fmt}{query}"


def frames(client: RawClient) -> list[str]:
    """Whole frames, without the reconnection time."""
    return [re.sub(r"^retry: \d+\n", "", frame) for frame in client.body.decode().split("\n\n")[:-1]]


def texts(client: RawClient) -> str:
    """All the text in them, wherever the format has it."""
    pieces: list[str] = []
    for frame in frames(client):
        data = frame.partition("data: ")[2]
        value: dict[str, Any] = {"choices": []} if data == "[DONE]" else json.loads(data)
        choices: list[Any] = value.get("choices") or [{}]
        delta: Any = value.get("delta") or choices[0].get("delta") or {}
        pieces.append(delta if isinstance(delta, str) else delta.get("content") or delta.get("text") or "")
    return "".join(pieces)


async def read(node: RunningNode, generation: str, fmt: str, after: str = "") -> tuple[list[str], str | None]:
    """All frames behind a position, and how the body ended."""
    async with RawClient(node.port) as client:
        await client.get(url(generation, fmt), **({"last_event_id": after} if after else {}))
        end = await client.read_all()
        return frames(client), end


@every
@modes
async def test_live_tokens_are_framed_where_they_are_heard(
    start_node: StartNode, door: FakeDoor, fmt: str, live: str
) -> None:
    """Two readers from the start and one that came back: what they get is the same, frame for frame."""
    node = await start_node(live=live)
    generation = door.create(FIRST, TextDelta(0, "a"))
    async with RawClient(node.port) as one, RawClient(node.port) as other:
        await one.get(url(generation, fmt, "&replay=exact"))
        await other.get(url(generation, fmt, "&replay=exact"))
        for client in (one, other):
            await client.read_until(b'"a"')
        for word in ("b", "c", "d"):
            door.append(generation, TextDelta(0, word))
            await one.read_until(f'"{word}"'.encode())
        async with RawClient(node.port) as late:
            await late.get(url(generation, fmt, "&replay=exact"), last_event_id=f"{EPOCH}-4")
            await late.read_until(b'"d"')
            # Says nothing in these formats: an empty chunk would end the body.
            door.append(generation, Retrying(1, 0.5, ErrorInfo("x", "y")), TextDelta(0, "e"))
            door.append(generation, DONE)
            for client in (one, other, late):
                assert await client.read_all() == "last chunk"
            assert frames(one) == frames(other)
            assert frames(late) == frames(one)[-len(frames(late)) :]
    assert (texts(one), texts(late)) == ("abcde", "cde")


@every
@modes
async def test_whoever_holds_a_void_attempt_is_told_and_broken_off(
    start_node: StartNode, door: FakeDoor, fmt: str, live: str
) -> None:
    """Live, and again whenever it comes back with that position; others get the answer that stands."""
    node = await start_node(live=live)
    generation = door.create(FIRST, TextDelta(0, "void"))
    async with RawClient(node.port) as client:
        await client.get(url(generation, fmt))
        await client.read_until(b'"void"')
        door.append(generation, AGAIN)
        assert await client.read_all() != "last chunk"
        assert "error" in frames(client)[-1]
        assert not frames(client)[-1].startswith("id: ")
    door.append(generation, TextDelta(0, "good"), DONE)
    again, end = await read(node, generation, fmt, f"{EPOCH}-3")
    assert (len(again), "error" in again[0], end != "last chunk") == (1, True, True)
    for after in ("", f"{EPOCH}-1", f"{EPOCH}-2", f"{EPOCH}-4"):
        rest, end = await read(node, generation, fmt, after)
        assert ("void" in "".join(rest), "good" in "".join(rest), end) == (False, True, "last chunk")


@every
async def test_a_position_of_another_log_is_told_and_broken_off(
    start_node: StartNode, door: FakeDoor, fmt: str
) -> None:
    """Whoever comes with it holds nobody knows what: also with more frames than the entry has."""
    node = await start_node()
    generation = door.create(FIRST, TextDelta(0, "a"), DONE)
    for after in ("5-3", f"{EPOCH}-3.9"):
        got, end = await read(node, generation, fmt, after)
        assert (len(got), "error" in got[0], end != "last chunk") == (1, True, True)


@every
async def test_the_rest_of_the_last_entry(start_node: StartNode, door: FakeDoor, fmt: str) -> None:
    """The terminal entry makes several frames: a reader cut between them gets the others, and then 204."""
    node = await start_node()
    generation = door.create(FIRST, TextDelta(0, "a"), DONE)
    whole, _ = await read(node, generation, fmt)
    last = [frame for frame in whole if re.match(rf"id: {EPOCH}-4[.\n]", frame)]
    assert len(last) > 1
    for at, frame in enumerate(last[:-1], 1):
        position = frame.partition("id: ")[2].partition("\n")[0]
        assert await read(node, generation, fmt, position) == (last[at:], "last chunk")
    async with RawClient(node.port) as client:
        assert await client.get(url(generation, fmt), last_event_id=f"{EPOCH}-4") == 204


async def test_formats_of_whole_entries_refuse_a_part_of_one(start_node: StartNode, door: FakeDoor) -> None:
    """And say which header is at fault."""
    node = await start_node()
    generation = door.create(FIRST, DONE)
    for fmt in ("native", "ndjson", "text"):
        async with RawClient(node.port) as client:
            assert await client.get(url(generation, fmt), last_event_id=f"{EPOCH}-2.1") == 400
            await client.read_until(b"bad_event_id")
