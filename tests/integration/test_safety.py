"""Servers that would lose answers are refused; ends can be made to wait for replicas and for the disk."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from subprocess import run
from typing import Any, cast

import pytest

from broker.client import Broker
from broker.errors import UnfitServer
from broker.redis import connect
from broker.server_check import check, check_at_start, unfit
from broker.settings import Settings
from rejoinder.embedded import EmbeddedServer
from rejoinder.environment import inherited
from tests.conftest import MakeSettings, StartWorker
from tests.integration.reading import request
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
async def server() -> AsyncIterator[EmbeddedServer]:
    """A server of this test's own."""
    async with EmbeddedServer() as started:
        yield started


async def configure(url: str, name: str, value: str) -> None:
    """CONFIG SET."""
    client = connect(url)
    await cast("Any", client).config_set(name, value)
    await client.aclose()


@pytest.mark.parametrize(
    ("info", "wait_aof", "words"),
    [
        ({}, False, None),
        ({"maxmemory_policy": "noeviction", "redis_version": "6.2.0", "aof_enabled": 1}, False, None),
        ({"maxmemory_policy": "allkeys-lru"}, False, "allkeys-lru"),
        ({"maxmemory_policy": "volatile-ttl", "redis_version": "8.0.1"}, False, "volatile-ttl"),
        ({"redis_version": "6.0.16"}, False, "6.0 is too old"),
        ({"redis_version": "10.1.0"}, True, None),
        ({"redis_version": "7.0.15"}, True, "needs Redis 7.2"),
        ({"redis_version": "7.2.4", "aof_enabled": 0}, True, "appendonly yes"),
    ],
)
def test_what_makes_a_server_unfit(info: dict[str, Any], wait_aof: bool, words: str | None) -> None:
    """It says what to configure."""
    problem = unfit(info, wait_aof=wait_aof)
    assert problem is None if words is None else problem is not None and words in problem


async def test_a_node_on_an_evicting_server_is_not_ready(server: EmbeddedServer, make_settings: MakeSettings) -> None:
    """Also when the policy changes later: what would lose answers gets no new ones."""
    async with Broker(make_settings(redis_url=server.url)) as broker:
        await broker.ping()
        await configure(server.url, "maxmemory-policy", "allkeys-lru")
        with pytest.raises(UnfitServer, match="noeviction"):
            await broker.ping()
        await configure(server.url, "maxmemory-policy", "noeviction")
        await broker.ping()


@pytest.mark.parametrize("command", [["worker"], ["api", "--port", "0"]])
async def test_a_process_refuses_to_start_on_an_evicting_server(command: list[str], server: EmbeddedServer) -> None:
    """Exit code 2 and one sentence, not a traceback."""
    await configure(server.url, "maxmemory-policy", "volatile-lru")
    env = {**inherited(), "REJOINDER_REDIS_URL": server.url}
    ended = run(  # noqa: ASYNC221 -- our own program, and nothing else runs here
        [sys.executable, "-m", "rejoinder", *command], env=env, capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 2
    assert "volatile-lru" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_a_server_that_is_away_is_checked_when_it_comes(
    server: EmbeddedServer, make_settings: MakeSettings
) -> None:
    """A process may start before its server."""
    server.stop()
    settings = make_settings(redis_url=server.url)
    await check_at_start(settings)
    await server.start_async()
    client = connect(server.url)
    await check(client)
    await client.aclose()


async def test_a_user_who_may_not_ask_is_let_in(server: EmbeddedServer) -> None:
    """Managed servers may hide INFO; then nobody checks, and the log says so."""
    client = connect(server.url)
    await cast("Any", client).acl_setuser("app", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-info"])
    await client.aclose()
    limited = connect(server.url.replace("redis://", "redis://app:x@"))
    await check(limited)
    await limited.aclose()


class TestKeptEnds:
    """REJOINDER_WAIT_REPLICAS and REJOINDER_WAIT_AOF."""

    async def _complete(self, settings: Settings, start_worker: StartWorker) -> tuple[Broker, str]:
        await start_worker(settings)
        async with Broker(settings) as broker:
            made = await broker.submit(request(3, 0))
            record = await broker.wait(made.record.id, 10)
            assert record.status == "completed"
            await wait_until(lambda: _counted(broker))
            return broker, made.record.id

    async def test_on_disk(
        self, server: EmbeddedServer, make_settings: MakeSettings, start_worker: StartWorker
    ) -> None:
        """A kill -9 of the server right behind the end does not take it back."""
        settings = make_settings(redis_url=server.url, wait_aof=True)
        broker, generation = await self._complete(settings, start_worker)
        server.kill()
        await server.start_async()
        async with Broker(settings) as again:
            assert (await again.get(generation)).status == "completed"
            assert (await again.fleet_stats()).unconfirmed == 0
        assert broker.settings.wait_aof

    async def test_on_a_replica(
        self, server: EmbeddedServer, make_settings: MakeSettings, start_worker: StartWorker
    ) -> None:
        """The end is on the replica when the worker lets go."""
        async with EmbeddedServer() as replica:
            client = connect(replica.url)
            await cast("Any", client).replicaof("127.0.0.1", server.port)
            await wait_until(lambda: _linked(client))
            settings = make_settings(redis_url=server.url, wait_replicas=1)
            broker, generation = await self._complete(settings, start_worker)
            assert await client.hget(broker.keys.job(generation), "status") == b"completed"
            await client.aclose()

    async def test_a_missing_replica_is_counted_and_holds_nobody_up(
        self, server: EmbeddedServer, make_settings: MakeSettings, start_worker: StartWorker
    ) -> None:
        """After wait_s the end counts all the same, and the metric says that it is less safe than was asked for."""
        settings = make_settings(redis_url=server.url, wait_replicas=1, wait_s=0.2)
        await self._complete(settings, start_worker)
        async with Broker(settings) as broker:
            assert (await broker.fleet_stats()).unconfirmed == 1


async def _counted(broker: Broker) -> bool:
    return (await broker.fleet_stats()).generations.get("completed") == 1


async def _linked(client: Any) -> bool:
    return (await client.info("replication")).get("master_link_status") == "up"
