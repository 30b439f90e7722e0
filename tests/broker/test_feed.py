"""The subscription connection, driven directly and by redis-py: whoever listens is told the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from broker import feed as feed_module
from broker.feed import DirectFeed, Feed, NoFeed, PlainFeed
from broker.tasks import end
from tests.broker.scripted_redis import ScriptedRedis, scripted_redis
from tests.support.waiting import wait_until


class Ear:
    """Notes what it is told, and subscribes to what it wants on every connection."""

    def __init__(self, *wanted: str) -> None:
        self.wanted = wanted
        self.feed: Feed | None = None
        self.told: list[Any] = []

    def connected(self) -> None:
        """Ask."""
        self.told.append("connected")
        if self.feed is not None:
            self.feed.subscribe(self.wanted)

    def subscribed(self, channel: bytes) -> None:
        """Confirmed."""
        self.told.append(channel)

    def heard(self, messages: list[tuple[bytes, bytes]]) -> None:
        """Messages."""
        self.told += messages

    def lost(self) -> None:
        """Gone."""
        self.told.append("lost")

    def count(self, thing: Any) -> int:
        """How often it was told this."""
        return self.told.count(thing)


class Scene:
    """A feed that runs, on a server that does as it is told."""

    def __init__(self, server: ScriptedRedis, ear: Ear, feed: Feed) -> None:
        self.server = server
        self.ear = ear
        self.feed = feed


@pytest.fixture(params=[DirectFeed, PlainFeed])
async def scene(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    """Subscribed to ``a`` and ``b``."""
    monkeypatch.setattr(feed_module, "PING_S", 0.02)
    monkeypatch.setattr(feed_module, "SILENCE_S", 0.2)
    monkeypatch.setattr(feed_module, "_BACK_OFF_S", (0.01,))
    async with scripted_redis() as server:
        ear = Ear("a", "b")
        ear.feed = feed = request.param(server.client(), ear)
        running = asyncio.ensure_future(feed.run())
        await wait_until(lambda: ear.count(b"b") == 1)
        yield Scene(server, ear, feed)
        await end(running)


async def test_messages_come_in_order_and_behind_their_confirmation(scene: Scene) -> None:
    """Also when one read brings all of it."""
    server, ear = scene.server, scene.ear
    server.say(server.publish(b"a", b"1") + server.publish(b"b", b"2") + server.publish(b"a", b"3"))
    await wait_until(lambda: ear.count((b"a", b"3")) == 1)
    assert ear.told == ["connected", b"a", b"b", (b"a", b"1"), (b"b", b"2"), (b"a", b"3")]
    scene.feed.subscribe(["c"])
    await wait_until(lambda: ear.count(b"c") == 1)
    scene.feed.unsubscribe(["a", "c"])
    await wait_until(lambda: server.commands[-1] == [b"UNSUBSCRIBE", b"a", b"c"])


async def test_after_a_cut_everything_is_asked_for_anew(scene: Scene) -> None:
    """The listener hears of both, in order."""
    scene.server.cut()
    await wait_until(lambda: scene.ear.count(b"b") == 2)
    assert scene.ear.told == ["connected", b"a", b"b", "lost", "connected", b"a", b"b"]


async def test_a_connection_without_even_a_pong_is_made_anew(scene: Scene) -> None:
    """Half-open: nothing arrives and nothing fails."""
    scene.server.silent = True
    await wait_until(lambda: scene.ear.count("lost") >= 1)
    scene.server.silent = False
    await wait_until(lambda: scene.ear.count(b"b") == 2)
    assert scene.server.connections >= 2


async def test_pongs_keep_a_quiet_connection(scene: Scene) -> None:
    """Silence is asked about before it is judged."""
    pings = scene.server.pings
    await wait_until(lambda: scene.server.pings > pings + 15)
    assert scene.server.connections == 1
    assert scene.ear.count("lost") == 0


async def test_a_subscription_that_is_refused_is_not_waited_for(scene: Scene) -> None:
    """A permission is missing: the connection is given up, and tried again."""
    scene.server.next_reply = b"-NOPERM no\r\n"
    scene.feed.subscribe(["c"])
    await wait_until(lambda: scene.ear.count("lost") == 1)
    await wait_until(lambda: scene.ear.count(b"b") == 2)
    assert scene.server.connections == 2


async def test_many_are_asked_for_in_parts(scene: Scene) -> None:
    """So that no command grows without bound."""
    names = [f"n{n}" for n in range(1200)]
    scene.feed.subscribe(names)
    await wait_until(lambda: scene.ear.count(b"n1199") == 1)
    asked = [len(command) - 1 for command in scene.server.commands if b"n" in command[1]]
    assert asked == [512, 512, 176]


async def test_without_notices_everything_is_confirmed_at_once() -> None:
    """There is nothing to wait for."""
    ear = Ear("a")
    ear.feed = feed = NoFeed(ear)
    running = asyncio.ensure_future(feed.run())
    await wait_until(lambda: ear.told == ["connected", b"a"])
    feed.unsubscribe(["a"])
    await end(running)
    assert ear.told == ["connected", b"a"]
