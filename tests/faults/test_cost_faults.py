"""What naive designs pay for each token, counted in commands and bytes: never in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from broker.client import Broker
from broker.redis import connect
from broker.settings import Settings
from rejoinder.embedded import EmbeddedServer
from tests.chaos.proxy import FaultProxy
from tests.conftest import MakeSettings, StartWorker
from tests.integration.reading import request
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

TOKENS = 1000


@pytest.fixture
async def server() -> AsyncIterator[EmbeddedServer]:
    """A server that nobody else writes to."""
    async with EmbeddedServer() as started:
        yield started


@pytest.fixture
async def raw(server: EmbeddedServer) -> AsyncIterator[Any]:
    """Its commands."""
    client = connect(server.url)
    yield client
    await client.aclose()


@pytest.fixture
def settings(make_settings: MakeSettings, server: EmbeddedServer) -> Settings:
    """On that server."""
    return make_settings(redis_url=server.url)


async def appends(raw: Any) -> int:
    """How many scripts have run."""
    return (await raw.info("commandstats")).get("cmdstat_evalsha", {"calls": 0})["calls"]


async def bytes_written(raw: Any) -> int:
    """How much the server has been sent."""
    return (await raw.info("stats"))["total_net_input_bytes"]


async def complete(broker: Broker, tokens: int, rate: float, **fields: Any) -> str:
    """One answer."""
    made = await broker.submit(request(tokens, rate, **fields))
    record = await broker.wait(made.record.id, 30)
    assert record.status == "completed"
    return made.record.id


@pytest.mark.usefixtures("worker")
async def test_an_answer_takes_few_round_trips(broker: Broker, raw: Any) -> None:
    """Tokens that come faster than Redis answers share appends: not two scripts for each delta."""
    await complete(broker, 1, 0)
    before = await appends(raw)
    await complete(broker, TOKENS, 0, delivery={"batch": "none"})
    assert await appends(raw) - before < TOKENS / 10


async def test_a_slow_network_does_not_slow_the_provider(
    make_settings: MakeSettings, server: EmbeddedServer, start_worker: StartWorker, broker: Broker, raw: Any
) -> None:
    """With 50 ms to Redis and back, a token costs no round trip: the provider loop never waits for one."""
    async with FaultProxy("127.0.0.1", server.port) as proxy:
        await start_worker(make_settings(redis_url=f"redis://127.0.0.1:{proxy.port}/0", worker_drain_s=0))
        await complete(broker, 1, 0)
        proxy.latency_s = 0.025
        before = await appends(raw)
        await complete(broker, 200, 400, delivery={"batch": "none"})
        assert await appends(raw) - before < 50
        proxy.latency_s = 0.0


@pytest.mark.usefixtures("worker")
async def test_a_longer_answer_is_not_written_again_and_again(broker: Broker, raw: Any) -> None:
    """Bytes sent to Redis grow with the answer, not with its square; a kept token costs tens of bytes."""
    sent: list[int] = []
    kept: list[int] = []
    for tokens in (TOKENS, 4 * TOKENS):
        before = await bytes_written(raw)
        generation = await complete(broker, tokens, 0, delivery={"batch": "none"})
        sent.append(await bytes_written(raw) - before)
        kept.append(await raw.memory_usage(broker.keys.log(generation), samples=0))
    assert sent[1] < 6 * sent[0]
    assert kept[1] / (4 * TOKENS) < 40


async def test_a_worker_that_waits_at_the_door_holds_up_nothing(
    broker: Broker, worker: asyncio.Event, raw: Any
) -> None:
    """The one command that blocks has a connection of its own, on which nothing else is ever asked."""
    del worker

    async def blocked() -> set[str]:
        return {row["id"] for row in await raw.client_list() if row["cmd"] == "blpop" and "b" in row["flags"]}

    async def waits() -> bool:
        return len(await blocked()) == 1

    async def waits_there() -> bool:
        return await blocked() == before

    await wait_until(waits)
    # Between two waits nothing is blocked.
    while not (before := await blocked()):
        pass
    await complete(broker, 3, 0)
    await wait_until(waits_there)


def test_nothing_trims_a_log() -> None:
    """A reader who is behind must not lose the head of the log: it goes as a whole, when its time is over."""
    root = Path(__file__).parent.parent.parent
    sources = [*(root / "broker").rglob("*.lua"), *(root / "broker").rglob("*.py"), *(root / "worker").rglob("*.py")]
    found = [path.name for path in sources for word in ("XTRIM", "MAXLEN", "MINID", "XDEL") if word in path.read_text()]
    assert len(sources) > 20
    assert found == []
