"""The way past the framework gives the framework's answers."""

from __future__ import annotations

import itertools
from unittest.mock import patch

import httpx2
import pytest
from fastapi import FastAPI

from api import edge
from tests.api.conftest import MakeClient
from tests.api.fake_door import EPOCH, FakeDoor
from tests.api.reading import WHOLE, url

QUERIES = [
    "",
    "?",
    "?format=native",
    "?format=sse&replay=exact",
    "?format=ndjson",
    "?format=text",
    "?format=",
    "?format=html",
    "?replay=fast",
    "?replay=exact&replay=merged",
    "?unknown=1",
    f"?last_event_id={EPOCH}-2",
    f"?last_event_id=&lastEventId={EPOCH}-2",
    f"?lastEventId={EPOCH}-3",
    "?lastEventId=x",
    "?last_event_id=1-2-3",
    f"?lastEventId={EPOCH}-5",
    "?format=%6Edjson",
    "?format",
]
HEADERS: list[dict[str, str]] = [
    {},
    {"last-event-id": f"{EPOCH}-4"},
    {"last-event-id": "x"},
    {"last-event-id": ""},
    {"accept": "application/x-ndjson"},
    {"accept": "image/png", "authorization": "Bearer wrong"},
]


async def answer(client: httpx2.AsyncClient, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], str]:
    """Status, headers and body, without what differs by chance."""
    response = await client.get(path, headers={"authorization": "Bearer k", **headers})
    body = "\n".join(line for line in response.text.splitlines() if not line.startswith("retry: "))
    left_out = ("content-length",)
    return response.status_code, {k: v for k, v in response.headers.items() if k not in left_out}, body


@pytest.mark.parametrize("query", QUERIES)
async def test_both_ways_answer_alike(make_client: MakeClient, door: FakeDoor, query: str) -> None:
    """For what is in order and for what is not."""
    ids = (door.create(*WHOLE), "gen_none", "a%2Fb", "x" * 129)
    async with make_client(api_keys={"default": "k"}) as client:
        for generation, headers in itertools.product(ids, HEADERS):
            path = url(generation, query)
            short = await answer(client, path, headers)
            with patch.object(edge, "shortcut", _never):
                assert await answer(client, path, headers) == short


async def test_the_plain_read_is_really_short(make_client: MakeClient, door: FakeDoor) -> None:
    """The framework is not asked for what is in order, and is for what is not."""
    generation = door.create(*WHOLE)
    with patch.object(FastAPI, "__call__", side_effect=AssertionError):
        async with make_client() as client:
            assert (await client.get(url(generation))).status_code == 200
            assert (await client.get(url(generation, "?replay=fast"))).status_code == 503


async def _never(*_: object) -> None:
    return None
