"""The clients that need a browser, in headless Chromium, on a page of the same origin as the service."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from playwright.async_api import Browser, Page, Request

from tests.clients.left import Ask, Left
from tests.support.waiting import wait_until

FOLDER = "/clients-test"
HTML = b'<!doctype html><meta charset="utf-8"><title>clients</title><body><script src="page.js"></script></body>'
SHOW = """() => {
  Object.defineProperty(document, "visibilityState", {value: "visible", configurable: true});
  document.dispatchEvent(new Event("visibilitychange"));
}"""
"""Runs on a page: its person comes back to the tab."""
_READY, _FAILED = "ready", "error"


def _looks_back(request: Request) -> bool:
    return urlsplit(request.url).path.endswith("/stream")


class Chat:
    """useChat on a page of its own."""

    def __init__(self, page: Page, client: str, ask: Ask) -> None:
        self.page = page
        self.client = client
        self.ask = ask
        self.chat = ""

    async def open(self, kept: Any = None) -> None:
        """Load the page; where ``ask.chat`` says so, take up that chat, else wait until it knows that there is none.

        ``kept``: the messages that the application has of it.
        """
        await self.page.goto(f"{self.ask.base}{FOLDER}/index.html")
        async with self.page.expect_event("requestfinished" if self.ask.chat is None else "request", _looks_back):
            self.chat = await self.page.evaluate(
                "(given) => window.mount(...given)", [self.client, msgspec.to_builtins(self.ask), kept]
            )
        if self.ask.chat is None and self.client == "usechat-workflow":
            await self.page.wait_for_function("() => window.ended")

    async def messages(self) -> Any:
        """What an application keeps of a chat."""
        return await self.page.evaluate("() => JSON.parse(JSON.stringify(window.chat.messages))")

    async def send(self) -> None:
        """Type the prompt and press the button; returns when the answer has been asked for."""
        await self.page.evaluate("(prompt) => window.send(prompt)", self.ask.prompt)
        await self.page.wait_for_function("() => window.chat.messages.length > 0")

    async def run_tools(self) -> None:
        """The page gives the results of the tools that it was asked for."""
        await self.page.evaluate("() => window.runTools()")

    async def quiet(self) -> None:
        """Return when the page has asked whether there is an answer to take up, and was told that there is none."""
        await self.page.wait_for_load_state("networkidle")
        await self.page.wait_for_function("() => window.chat.status === 'ready'")

    async def look(self) -> Left:
        """What the person sees now."""
        return msgspec.convert(await self.page.evaluate("() => window.look()"), Left)

    async def show(self) -> None:
        """The person comes back to the tab; returns when the client has begun to do something about it."""
        before: int = await self.page.evaluate("() => ((window.ended = undefined), window.statuses.length)")

        async def noticed() -> bool:
            # Right after an error the client is still busy with it, and does not hear.
            await self.page.evaluate(SHOW)
            return await self.page.evaluate("() => window.statuses.length") > before

        await wait_until(noticed)

    async def settled(self, timeout_s: float = 20.0) -> Left:
        """What is seen when nothing more is to come by itself."""

        async def done() -> bool:
            ended: bool = await self.page.evaluate("() => window.ended !== undefined")
            return ended and (await self.look()).finish in (_READY, _FAILED)

        await wait_until(done, timeout_s)
        return await self.look()


async def run_chat(browser: Browser, client: str, ask: Ask) -> Left:
    """One question and its answer. With ``ask.resume`` the person comes back to the tab after each cut."""
    context = await browser.new_context()
    try:
        chat = Chat(await context.new_page(), client, ask)
        await chat.open()
        await chat.send()
        left = await chat.settled()
        while ask.resume and left.finish == _FAILED and left.resumed < 20:
            resumed = left.resumed + 1
            await chat.show()
            left = await chat.settled()
            left.resumed = resumed
        return left
    finally:
        await context.close()


async def run_events(browser: Browser, function: str, ask: Ask) -> Left:
    """``fetchEventSource`` or ``eventSource`` on a page, from its POST to the last event."""
    context = await browser.new_context()
    try:
        page = await context.new_page()
        await page.goto(f"{ask.base}{FOLDER}/index.html")
        answer: Any = await page.evaluate(f"(args) => window.{function}(args)", msgspec.to_builtins(ask))
        return msgspec.convert(answer, Left)
    finally:
        await context.close()


async def page_files(script: Path) -> dict[str, bytes]:
    """Path -> content of what the service's origin has to serve for the page."""
    blank = HTML.partition(b"<script")[0]
    return {
        f"{FOLDER}/index.html": HTML,
        f"{FOLDER}/blank.html": blank,
        f"{FOLDER}/page.js": await asyncio.to_thread(script.read_bytes),
    }
