"""The store, on both servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import pytest
from fakeredis import FakeAsyncRedis, FakeServer

from broker.redis import Redis, connect
from rejoinder.embedded import EmbeddedServer
from tests.broker.store import Store
from tests.conftest import MakeSettings


@pytest.fixture(params=["fake", "real"])
async def store(
    request: pytest.FixtureRequest, redis_server: EmbeddedServer, make_settings: MakeSettings
) -> AsyncIterator[Store]:
    """A broker's parts on fakeredis, and on the real server."""
    fake = request.param == "fake"
    client = cast("Redis", FakeAsyncRedis(server=FakeServer())) if fake else connect(redis_server.url)
    try:
        yield Store.on(client, make_settings())
    finally:
        await client.aclose()
