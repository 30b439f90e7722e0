"""The provider of the queue's bench, and what is read out of its book."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.fake_answers import Ask, Call, is_whole, rest_of
from bench.fake_provider import Connection, Provider
from bench.machine import parse_waited_ns
from bench.queue_idle import commands
from bench.queue_load import displacements, shares
from bench.queue_stage import Stage, Void
from bench.ttft import Took, Way, ask, rows_of
from broker.tasks import end
from tests.support.waiting import wait_until


@pytest.fixture
async def provider() -> AsyncGenerator[tuple[Provider, str]]:
    """One in this process, and its base URL."""
    loop = asyncio.get_running_loop()
    made = Provider()
    server = await loop.create_server(lambda: Connection(made), "127.0.0.1", 0)
    speaking = loop.create_task(made.run())
    yield made, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/me/v1/chat/completions"
    await end(speaking)
    server.close()


def body(wanted: Ask) -> dict[str, Any]:
    """As a client of OpenAI would ask."""
    return {"messages": [{"role": "user", "content": wanted.prompt()}]}


async def test_an_answer_is_whole_and_timed_on_a_connection_that_stays(provider: tuple[Provider, str]) -> None:
    """Two asks of the bench's own client, the stamp between request and sight, and the caller's name in the book."""
    made, url = provider
    way = Way(url, body, b"[DONE]")
    async with httpx2.AsyncClient() as http:
        for key in ("1", "2"):
            first, to_provider = await ask(http, way, key)
            assert 0 < to_provider <= first
    assert [(call.key, call.caller) for call in made.calls] == [("1", "me"), ("2", "me")]
    assert (made.count().ended, made.count().open, made.count().tokens) == (2, 0, 8)


async def test_held_answers_go_on_together_and_those_at_once_do_not_wait(provider: tuple[Provider, str]) -> None:
    """Held: one token until told. At no rate: all of it in one piece. Each is the whole answer in the end."""
    made, url = provider
    async with httpx2.AsyncClient() as http:
        at_once = await http.post(url, json=body(Ask("a", 3)))
        held = asyncio.ensure_future(http.post(url, json=body(Ask("b", 3, rate=1000.0, held=True))))
        await wait_until(lambda: made.count().asked == 2)
        assert (made.count().open, made.count().tokens) == (1, 4)
        made.go()
        for answer, key in ((at_once, "a"), (await held, "b")):
            assert f'"content":"{key}@' in answer.text
            assert '"content":" 2"' in answer.text
            assert answer.text.endswith("data: [DONE]\n\n")


async def test_a_caller_who_leaves_is_counted(provider: tuple[Provider, str]) -> None:
    """An answer that nobody hears is neither open nor ended."""
    made, url = provider
    async with httpx2.AsyncClient() as http, http.stream("POST", url, json=body(Ask("a", 9, rate=0.001))):
        pass
    await wait_until(lambda: made.count().cut == 1)
    assert (made.count().open, made.count().ended) == (0, 0)
    made.forget()
    assert (made.count().asked, made.count().cut) == (0, 0)


@given(tokens=st.integers(2, 30), at=st.integers(0, 200))
def test_an_answer_that_lacks_a_character_is_not_whole(tokens: int, at: int) -> None:
    """Every character counts; the stamp may be any number."""
    wanted = Ask("7", tokens)
    text = f"7@12@{rest_of(wanted)}"
    assert is_whole(text, wanted)
    assert not is_whole(text + " 1", wanted)
    lost = 5 + at % (len(text) - 5)
    assert not is_whole(text[:lost] + text[lost + 1 :], wanted)


@pytest.mark.parametrize(
    ("status", "attempt", "lost", "asked", "void"),
    [
        ("completed", 1, "", 1, ""),
        ("failed", 1, "", 1, "failed"),
        ("completed", 2, "", 1, "attempt 2"),
        ("completed", 1, " 2", 1, "attempt 1"),
        ("completed", 1, "", 2, "asked 2 times"),
        ("completed", 1, "", 0, "asked 0 times"),
    ],
)
async def test_a_run_that_loses_or_doubles_is_void(status: str, attempt: int, lost: str, asked: int, void: str) -> None:
    """By the record, by its text, and by the provider's book."""
    wanted = Ask("7", 3)
    output = SimpleNamespace(text=f"7@12@{rest_of(wanted).removesuffix(lost)}")
    record = SimpleNamespace(id="gen_1", status=status, attempt=attempt, output=output, error=None)
    broker = SimpleNamespace(queue_length=AsyncMock(return_value=0), get=AsyncMock(return_value=record))
    book = SimpleNamespace(book=AsyncMock(return_value=[Call("7", "x", 0)] * asked))
    here = Stage("", cast("Any", book), cast("Any", broker), Path())
    if not void:
        assert await here.settled({"gen_1": wanted}, 1.0) > 0
        return
    with pytest.raises(Void, match=void):
        await here.settled({"gen_1": wanted}, 1.0)


async def test_a_queue_that_does_not_empty_is_void() -> None:
    """The wait is bounded."""
    broker = SimpleNamespace(queue_length=AsyncMock(return_value=3))
    with pytest.raises(Void, match="3 of 1 generations stood in the queue"):
        await Stage("", cast("Any", None), cast("Any", broker), Path()).settled({"gen_1": Ask("7", 3)}, 0.05)


def test_order_and_shares_are_read_from_the_book() -> None:
    """Places from the queue's order; shares count from the moment at which everybody is there."""
    calls = [Call(key, caller, 0) for key, caller in (("a", "x"), ("c", "x"), ("b", "y"), ("d", "x"))]
    assert displacements(["a", "b", "c", "d"], calls) == [0.0, 1.0, 1.0, 0.0]
    assert shares(calls) == {"x": 0.5, "y": 0.5}
    with pytest.raises(KeyError):
        displacements(["a"], calls)


def test_what_is_added_is_the_difference_of_medians() -> None:
    """And the way out is what the way in leaves of each ask."""
    rows = rows_of({"direct": Took([1.0], [0.5]), "ours": Took([4.0], [3.0], {"worker": 2.0})})
    found = {(row.metric, row.system): row.value for row in rows}
    assert found["ttft.added_p50_ms", "ours"] == 3.0
    assert (found["ttft.way_in_ms", "ours"], found["ttft.way_out_ms", "ours"]) == (3.0, 1.0)
    assert found["ttft.worker_cpu_ms", "ours"] == 2.0
    assert ("ttft.added_p50_ms", "direct") not in found


def test_commands_of_the_harness_are_not_counted() -> None:
    """``INFO`` and ``CLIENT`` are ours."""
    told = {"cmdstat_blpop": {"calls": 4}, "cmdstat_info": {"calls": 2}, "cmdstat_client|list": {"calls": 9}}
    assert commands(told) == {"blpop": 4}
    assert parse_waited_ns("1 22 333\n") == 22
