"""Look, wait, list, cancel, delete."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from broker.errors import RejoinderError
from broker.events import Completed, Started, TextDelta
from tests.api.conftest import MakeClient
from tests.api.fake_door import EPOCH, FakeDoor
from tests.support.waiting import wait_until

PATH = "/v1/generations"
GOOD: dict[str, Any] = {"model": "demo/demo-1", "input": "hello"}
RAW = {"content-type": "application/json"}


async def test_a_record_holds_the_answer_so_far(client: httpx2.AsyncClient, door: FakeDoor) -> None:
    """Folded from the log."""
    generation = door.create(Started(1, "restart", "demo", "demo-1"), TextDelta(0, "Hi"))
    record = (await client.get(f"{PATH}/{generation}")).json()
    assert (record["status"], record["output"]["text"]) == ("running", "Hi")
    assert record["last_event_id"] == f"{EPOCH}-3"


async def test_wait_returns_at_the_end(client: httpx2.AsyncClient, door: FakeDoor) -> None:
    """Not before, and at once when it has ended already."""
    generation = door.create()
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(client.get(f"{PATH}/{generation}?wait=1e9"))
        await wait_until(lambda: door.waiting == 1)
        door.append(generation, Completed("stop"))
    assert answer.result().json()["status"] == "completed"
    assert (await client.get(f"{PATH}/{generation}?wait=60")).json()["status"] == "completed"
    assert door.waiting == 0


async def test_wait_gives_up_after_its_time(client: httpx2.AsyncClient, door: FakeDoor) -> None:
    """With the record as it stands."""
    answer = await client.get(f"{PATH}/{door.create()}?wait=0.01")
    assert (answer.status_code, answer.json()["status"]) == (200, "queued")


@pytest.mark.parametrize(
    "query", ["wait=-1", "wait=x", "wait=nan", "wait=inf", "wait=", "limit=0", "limit=101", "limit=1.5", "status=dead"]
)
async def test_a_wrong_query_is_named(client: httpx2.AsyncClient, door: FakeDoor, query: str) -> None:
    """422 with the parameter's name."""
    path = f"{PATH}/{door.create()}" if query.startswith("wait") else PATH
    answer = await client.get(f"{path}?{query}")
    assert (answer.status_code, answer.json()["field"]) == (422, query.partition("=")[0])


async def test_a_list_is_newest_first_and_pages(client: httpx2.AsyncClient, door: FakeDoor) -> None:
    """Each generation once, whatever the size of the page; a status picks."""
    made = [door.create() for _ in range(5)]
    door.append(made[2], Completed("stop"))
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        params = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = (await client.get(PATH, params=params)).json()
        assert page["object"] == "list"
        assert all(record["output"] is None for record in page["data"])
        seen += [record["id"] for record in page["data"]]
        cursor = page["next_cursor"]
    assert seen == made[::-1]
    done = (await client.get(f"{PATH}?status=completed")).json()["data"]
    assert [record["id"] for record in done] == [made[2]]
    wrong = await client.get(f"{PATH}?cursor=zzz")
    assert (wrong.status_code, wrong.json()["field"]) == (422, "cursor")


async def test_a_cancel_that_took_effect_is_a_200(client: httpx2.AsyncClient, door: FakeDoor) -> None:
    """By this call or before; saying it again changes nothing."""
    generation = door.create()
    for _ in range(2):
        answer = await client.post(f"{PATH}/{generation}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")


async def test_a_cancel_waits_briefly_for_its_effect(client: httpx2.AsyncClient, door: FakeDoor) -> None:
    """A worker needs a moment; and it may have finished meanwhile."""
    door.obeys_cancel = False
    generation = door.create()
    async with asyncio.TaskGroup() as group:
        answer = group.create_task(client.post(f"{PATH}/{generation}/cancel"))
        await wait_until(lambda: door.waiting == 1)
        door.append(generation, Completed("stop"))
    assert (answer.result().status_code, answer.result().json()["status"]) == (200, "completed")


async def test_a_cancel_without_effect_yet_is_a_202(
    client: httpx2.AsyncClient, door: FakeDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for, and durable."""
    monkeypatch.setattr("api.generations.CANCEL_WAIT_S", 0.01)
    door.obeys_cancel = False
    answer = await client.post(f"{PATH}/{door.create()}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")


async def test_delete_erases(client: httpx2.AsyncClient, door: FakeDoor) -> None:
    """204, and then it never was."""
    generation = door.create()
    gone = await client.delete(f"{PATH}/{generation}")
    assert (gone.status_code, gone.content) == (204, b"")
    for answer in (await client.get(f"{PATH}/{generation}"), await client.delete(f"{PATH}/{generation}")):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("name", ["gen_none", "x" * 129, "a%00b", "%7Bx%7D", "..", "%C3%BC", "*", "%20"])
async def test_an_id_that_can_not_be_one_is_a_404(client: httpx2.AsyncClient, door: FakeDoor, name: str) -> None:
    """Before Redis is asked, unless it looks like one."""
    door.surprise = None if name == "gen_none" else AssertionError("asked")
    for answer in (
        await client.get(f"{PATH}/{name}"),
        await client.get(f"{PATH}/{name}/events"),
        await client.post(f"{PATH}/{name}/cancel"),
        await client.delete(f"{PATH}/{name}"),
    ):
        assert answer.status_code in {404, 405} if name == ".." else answer.status_code == 404
        assert "code" in answer.json()


async def test_what_is_nowhere_says_so_and_a_wrong_method_says_which_are_right(client: httpx2.AsyncClient) -> None:
    """Problems, like all errors; Allow names the methods of all routes at the path."""
    nowhere = await client.get("/v1/nothing")
    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "not_found")
    assert (await client.get("/v1/generations/")).status_code == 404
    for path, allow in ((PATH, "GET, POST"), (f"{PATH}/x", "DELETE, GET"), ("/livez", "GET")):
        wrong = await client.put(path)
        assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed")
        assert wrong.headers["allow"] == allow


@pytest.mark.parametrize("error", [KeyError("secret"), RejoinderError("secret"), RecursionError("secret")])
async def test_the_last_resort_is_honest_and_tells_nothing(
    make_client: MakeClient, door: FakeDoor, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """Logged on our side; a problem on theirs."""
    door.surprise = error
    async with make_client() as client:
        answer = await client.get(f"{PATH}/gen_x")
    assert (answer.status_code, answer.json()["code"]) == (503, "internal")
    assert answer.headers["x-rejoinder-node"] == "node-1"
    assert "secret" not in answer.text
    assert "secret" in caplog.text
