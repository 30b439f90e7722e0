"""Fixtures every test may ask for: a real server, a broker and a worker on it, and the check that no key leaks."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from fnmatch import fnmatch
from typing import Any, cast

import hypothesis
import pytest

from broker.client import Broker
from broker.keys import PERMANENT
from broker.redis import connect
from broker.settings import Settings
from rejoinder.embedded import EmbeddedServer
from worker.main import serve

# Failed asserts of the suites show their values, as those of test files do.
pytest.register_assert_rewrite(
    *(f"tests.contracts.{name}" for name in ("broker", "tail_rules", "end_rules", "stage", "formats"))
)

# Two busy cores stall a process for longer than hypothesis's 200 ms now and then: that is no finding.
hypothesis.settings.register_profile("rejoinder", deadline=None)
hypothesis.settings.load_profile("rejoinder")

MakeSettings = Callable[..., Settings]
StartWorker = Callable[..., Awaitable[asyncio.Event]]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest tests first, whatever the shuffle says: one that begins last keeps everybody waiting."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedServer]:
    """A real server of this test process, on a private port."""
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def key_prefix() -> str:
    """Nobody else's keys."""
    return f"t-{secrets.token_hex(6)}"


@pytest.fixture
def make_settings(redis_server: EmbeddedServer, key_prefix: str, monkeypatch: pytest.MonkeyPatch) -> MakeSettings:
    """Settings on the real server under this test's prefix; keywords override."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def make(**values: Any) -> Settings:
        own: dict[str, Any] = {"redis_url": redis_server.url, "key_prefix": key_prefix, "node_name": "test"}
        return Settings(**{**own, **values})

    return make


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    """The default settings of a test: a lease short enough to see it lapse."""
    return make_settings(lease_s=2.0)


@pytest.fixture
async def broker(settings: Settings) -> AsyncIterator[Broker]:
    """An open broker."""
    async with Broker(settings) as opened:
        yield opened


@pytest.fixture
async def start_worker(settings: Settings) -> AsyncIterator[StartWorker]:
    """Starts workers in this process, each with its own connections; the returned event stops one."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(own: Settings | None = None, environ: dict[str, str] | None = None) -> asyncio.Event:
            stop = asyncio.Event()
            task = asyncio.get_running_loop().create_task(serve(own or settings, environ=environ or {}, stop=stop))

            async def end() -> None:
                stop.set()
                await task

            stack.push_async_callback(end)
            return stop

        yield start


@pytest.fixture
async def worker(start_worker: StartWorker) -> asyncio.Event:
    """A running worker."""
    return await start_worker()


@pytest.fixture(autouse=True)
async def no_key_leaks(request: pytest.FixtureRequest, key_prefix: str) -> AsyncGenerator[None, None]:
    """Every key a test leaves behind has a TTL, or is listed as permanent."""
    yield
    if "redis_server" not in request.fixturenames:
        return
    server: EmbeddedServer = request.getfixturevalue("redis_server")
    if server.pid is None:
        return
    client = connect(server.url)
    try:
        leaked = [name async for name in _without_ttl(cast("Any", client), key_prefix)]
    finally:
        await client.aclose()
    assert leaked == []


async def _without_ttl(client: Any, prefix: str) -> AsyncIterator[str]:
    async for key in client.scan_iter(match="*", count=1000):
        name: str = key.decode()
        if not name.startswith((f"{prefix}:", "arq:")):
            continue
        permanent = any(fnmatch(name, f"{prefix}:{pattern}") for pattern in PERMANENT)
        if not permanent and await client.ttl(key) == -1:
            yield name
