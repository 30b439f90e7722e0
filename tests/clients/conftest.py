"""One Node.js, one Chromium and one page for all clients; servers and wires, each once for all tests."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright

from tests.browser.conftest import ARGS
from tests.clients.browser import page_files
from tests.clients.clients import Stage
from tests.clients.golden import GoldenServer
from tests.clients.node import Node, build_page
from tests.clients.service import Service, serving
from tests.clients.wire import Wire


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage() -> AsyncIterator[Stage]:
    """What the clients run in; without Chromium these tests fail."""
    path = shutil.which("chromium")
    assert path is not None, "chromium is needed: apt-get install chromium"
    async with Node() as node, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=ARGS)
        yield Stage(node, browser)
        await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the page for the clients that need a browser."""
    script = tmp_path_factory.mktemp("page") / "page.js"
    await build_page(script)
    return await page_files(script)


@pytest_asyncio.fixture(loop_scope="session")
async def golden(page: dict[str, bytes]) -> AsyncIterator[GoldenServer]:
    """A server that has the golden files."""
    async with GoldenServer(page=page) as server:
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def golden_wire(golden: GoldenServer) -> AsyncIterator[Wire]:
    """What lies before it."""
    async with Wire(golden.port) as wire:
        yield wire


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def whole_service(page: dict[str, bytes]) -> AsyncIterator[Service]:
    """One for all tests; a node that was killed is started again."""
    async with serving(page) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def service(whole_service: Service) -> Service:
    """The same, with both nodes up and nothing left of the test before."""
    await whole_service.calm()
    return whole_service
