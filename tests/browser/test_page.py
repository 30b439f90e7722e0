"""The page, as somebody uses it."""

from __future__ import annotations

import httpx2
import pytest
from playwright.async_api import Browser, Page

from rejoinder.dev import DevStack
from tests.browser.conftest import ARGS
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(60)]


async def shows(page: Page, selector: str, word: str) -> None:
    """Wait until an element says this."""

    async def said() -> bool:
        return word in (await page.locator(selector).text_content() or "")

    await wait_until(said, 20)


async def longer(page: Page, length: int) -> None:
    """Wait until so much of the answer is there."""

    async def long_enough() -> bool:
        return len(await page.locator("#text").text_content() or "") > length

    await wait_until(long_enough, 20)


async def send(page: Page, stack: DevStack, words: str) -> None:
    """Open the page and ask."""
    await page.goto(stack.url)
    await page.locator("#length").select_option(words)
    await page.locator("#prompt").fill("Tell me about rivers")
    await page.locator("#prompt").press("Enter")


async def record(page: Page, stack: DevStack) -> dict[str, object]:
    """What the service says of the generation that is shown."""
    generation = page.url.partition("#")[2]
    async with httpx2.AsyncClient(base_url=stack.url) as http:
        return (await http.get(f"/v1/generations/{generation}", params={"wait": 20})).json()


async def test_a_cut_and_a_reload_lose_nothing(page: Page, stack: DevStack) -> None:
    """Cut, rejoined on the other node; reloaded, rejoined again; the text at the end is the record's."""
    await send(page, stack, "300")
    await longer(page, 150)
    await page.locator("#cut").click()
    await shows(page, "#cuts", "0 events lost")
    await page.reload()
    await longer(page, 200)
    await shows(page, "#state", "complete")
    known = await record(page, stack)
    output = known["output"]
    assert isinstance(output, dict)
    assert await page.locator("#text").text_content() == output["text"]
    assert await page.locator("#last").text_content() == known["last_event_id"]
    assert await page.locator("#note").is_hidden()


async def test_stop_stops(page: Page, stack: DevStack) -> None:
    """The provider is stopped, and what has come so far stays."""
    await send(page, stack, "1200")
    await longer(page, 100)
    await page.locator("#stop").click()
    await shows(page, "#state", "stopped")
    assert (await record(page, stack))["status"] == "cancelled"
    assert len(await page.locator("#text").text_content() or "") > 100


async def test_a_lost_worker_is_told_honestly(page: Page, stack: DevStack) -> None:
    """An answer that starts over says so, and never shows two answers as one."""
    await send(page, stack, "300")
    await longer(page, 100)
    stack.kill_worker()
    await shows(page, "#note", "starts over")
    await shows(page, "#state", "complete")
    output = (await record(page, stack))["output"]
    assert isinstance(output, dict)
    assert await page.locator("#text").text_content() == output["text"]


async def test_a_phone_shows_it_without_scrolling_sideways(browser: Browser, stack: DevStack) -> None:
    """360 pixels are enough."""
    assert ARGS
    page = await browser.new_page(viewport={"width": 360, "height": 740})
    await send(page, stack, "80")
    await shows(page, "#state", "complete")
    widths: list[int] = await page.locator("html").evaluate("e => [e.scrollWidth, e.clientWidth]")
    assert widths[0] <= widths[1]
    await page.close()
