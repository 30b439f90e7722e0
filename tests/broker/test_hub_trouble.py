"""Connections that fall silent, fail half-way or can't be asked: the hub makes them anew and says "read a page"."""
# pyright: reportPrivateUsage=false
# (the trouble is made inside)

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from broker.client import Broker
from broker.errors import LogUnavailable
from broker.hub import Subscription
from broker.notices import Notice
from broker.position import Position
from tests.broker.store import Store, Writer
from tests.broker.test_hub import collect
from tests.support.waiting import wait_until


async def a_writer(broker: Broker) -> tuple[Store, Writer]:
    """The owner of a log that has begun."""
    store = Store.on(broker.redis, broker.settings)
    writer = await store.own(await store.submit())
    await writer.begin()
    return store, writer


async def places(store: Store, generation: str) -> list[str]:
    """The ids in the log."""
    return [place for place, _ in await store.rows(generation)]


def unreadable(_data: bytes) -> Notice:
    """A hint and no more."""
    return Notice()


def drop(_hints: Subscription, _notice: Notice) -> None:
    """It never arrives."""


async def test_nobody_waits_for_a_channel_that_is_not_there(broker: Broker) -> None:
    """Whoever asks behind the last viewer's back is not kept for ever, and takes no viewers' lease."""
    await asyncio.wait_for(broker.hub.ready("gen_nobody"), 1)
    await broker.hub.count_viewers("gen_nobody")
    assert await broker.redis.zcard(broker.keys.viewers("gen_nobody")) == 0


async def test_a_connection_without_even_a_pong_is_made_anew(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half-open: nothing arrives and nothing fails. The audit is off; only a new subscription can bring the rest."""
    monkeypatch.setattr("broker.hub.AUDIT_S", 1000.0)
    monkeypatch.setattr("broker.hub.PING_S", 0.02)
    monkeypatch.setattr("broker.hub.SILENCE_S", 0.1)
    store, writer = await a_writer(broker)
    got: list[str] = []
    async with Broker(broker.settings) as own:
        pubsub: Any = own.hub._pubsub
        listen, close = pubsub.get_message, pubsub.aclose
        deaf = False
        made_anew = 0

        async def hear(**how: Any) -> Any:
            message = await listen(**how)
            return None if deaf else message

        async def begin_anew() -> None:
            nonlocal deaf, made_anew
            made_anew += deaf
            deaf = False
            await close()

        monkeypatch.setattr(pubsub, "get_message", hear)
        monkeypatch.setattr(pubsub, "aclose", begin_anew)
        reading = asyncio.ensure_future(collect(own, writer.generation, got))
        await wait_until(lambda: "live" in got)
        deaf = True
        await writer.end("a", "b")
        await asyncio.wait_for(reading, 5)
        assert made_anew == 1
    assert [at for at in got if at != "live"] == await places(store, writer.generation)


async def test_pongs_keep_a_quiet_connection(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is asked about before it is judged: nothing is said for a while, and the connection stays."""
    monkeypatch.setattr("broker.hub.PING_S", 0.02)
    monkeypatch.setattr("broker.hub.SILENCE_S", 0.1)
    async with Broker(broker.settings) as own:
        await wait_until(own.hub._connected.is_set)
        pubsub: Any = own.hub._pubsub
        pongs = 0
        listen = pubsub.get_message
        closed: list[str] = []

        async def hear(**how: Any) -> Any:
            nonlocal pongs
            message = await listen(**how)
            pongs += message is not None and message["type"] == "pong"
            return message

        monkeypatch.setattr(pubsub, "get_message", hear)
        monkeypatch.setattr(pubsub, "aclose", noted(closed, "closed", pubsub.aclose))
        await wait_until(lambda: pongs > 8)
        assert closed == []
        assert own.hub._connected.is_set()


async def test_a_subscribe_that_fails_is_made_up_for(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection breaks under the command: the listener connects anew and subscribes to all there are."""
    monkeypatch.setattr("broker.hub.AUDIT_S", 1000.0)
    monkeypatch.setattr("broker.hub.PING_S", 0.02)
    store, writer = await a_writer(broker)
    got: list[str] = []
    async with Broker(broker.settings) as own:
        await wait_until(own.hub._connected.is_set)
        pubsub: Any = own.hub._pubsub
        subscribe = pubsub.subscribe
        failed: list[str] = []

        async def fail(*names: str) -> None:
            if not failed:
                failed.extend(names)
                raise RedisConnectionError("broken")
            await subscribe(*names)

        monkeypatch.setattr(pubsub, "subscribe", fail)
        reading = asyncio.ensure_future(collect(own, writer.generation, got))
        await wait_until(lambda: "live" in got)
        await writer.end("a")
        await asyncio.wait_for(reading, 5)
    assert failed == [broker.keys.channel(writer.generation)]
    assert [at for at in got if at != "live"] == await places(store, writer.generation)


async def test_nothing_is_asked_on_a_connection_that_broke_meanwhile(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ping had to wait for a command, which found the connection broken: a new one is made at once."""
    monkeypatch.setattr("broker.hub.PING_S", 0.02)
    async with Broker(broker.settings) as own:
        hub = own.hub
        await wait_until(hub._connected.is_set)
        calls: list[str] = []
        for name in ("ping", "aclose"):
            monkeypatch.setattr(hub._pubsub, name, noted(calls, name, getattr(hub._pubsub, name)))
        async with hub._send:
            await wait_until(lambda: bool(cast("Any", hub._send)._waiters))
            calls.clear()
            hub._connected.clear()
        await wait_until(lambda: "ping" in calls)
        assert calls[:2] == ["aclose", "ping"]


def noted(calls: list[str], name: str, call: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """The same call, written down."""

    async def noting() -> None:
        calls.append(name)
        await call()

    return noting


async def test_an_audit_that_can_not_be_made_is_made_again(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is away for some rounds; the reader, who hears no notice, still gets everything afterwards."""
    monkeypatch.setattr("broker.hub.AUDIT_S", 0.01)
    monkeypatch.setattr("broker.hub.parse_notice", unreadable)
    store, writer = await a_writer(broker)
    got: list[str] = []
    async with Broker(broker.settings) as own:
        look = own.log.tops
        rounds = 0

        async def away(generations: Any) -> list[Position | None]:
            nonlocal rounds
            rounds += 1
            if rounds < 4:
                raise LogUnavailable
            return await look(generations)

        monkeypatch.setattr("broker.hub.Subscription.offer", drop)
        monkeypatch.setattr(own.log, "tops", away)
        reading = asyncio.ensure_future(collect(own, writer.generation, got))
        await wait_until(lambda: "live" in got)
        await writer.end("a")
        await asyncio.wait_for(reading, 5)
        assert rounds >= 4
    assert [at for at in got if at != "live"] == await places(store, writer.generation)


async def test_who_is_cancelled_while_leaving_leaves_all_the_same(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last viewer is cancelled while its node's lease is given back: the subscription goes nevertheless."""
    store, writer = await a_writer(broker)
    given_back = asyncio.Event()

    async def watch(*_args: object) -> tuple[int, int]:
        given_back.set()
        await asyncio.Event().wait()
        return -1, 0

    async def visit() -> None:
        async with broker.hub.subscribe(writer.generation):
            await broker.hub.ready(writer.generation)
            broker.hub._channels[writer.generation].leased = True
            monkeypatch.setattr(broker.hub._scripts, "watch", watch)

    leaving = asyncio.ensure_future(visit())
    await given_back.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    channel = broker.keys.channel(writer.generation)

    async def unsubscribed() -> bool:
        return dict(await store.raw.pubsub_numsub(channel)).get(channel.encode()) == 0

    await wait_until(unsubscribed)
