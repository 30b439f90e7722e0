"""The browser's own EventSource, unmodified: seeds row 24."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Page

from rejoinder.dev import DevStack
from tests.support.history import Seen, Viewer, check
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(60)]

FOLLOW = """async () => {
  const body = {model: "demo/demo-1", input: "x", provider_options: {tokens: 160, rate: 40}};
  const headers = {"Content-Type": "application/json"};
  const made = await (await fetch("/v1/generations", {method: "POST", headers, body: JSON.stringify(body)})).json();
  window.seen = [];
  window.errors = 0;
  window.source = new EventSource(made.links.events + "?replay=exact");
  const kinds = ["created", "started", "completed", "failed", "cancelled"].map((k) => "generation." + k);
  for (const kind of [...kinds, "text.delta", "stream.reset"]) {
    window.source.addEventListener(kind, (e) => window.seen.push([e.lastEventId, JSON.parse(e.data)]));
  }
  window.source.onerror = () => window.errors++;
  return made.id;
}"""


async def test_killed_nodes_cost_nothing_and_the_end_is_the_end(page: Page, stack: DevStack) -> None:
    """Cut twice in mid-answer it resumes by itself; after the terminal event a 204 stops it for good."""
    requests: list[str] = []
    await page.goto(stack.url)
    page.on("request", lambda request: requests.append(request.url))
    generation: str = await page.evaluate(FOLLOW)

    async def count() -> int:
        return int(await page.evaluate("() => window.seen.length"))

    for name, least in (("node-a", 15), ("node-b", 50)):

        async def far_enough(least: int = least) -> bool:
            return await count() >= least

        await wait_until(far_enough, 20)
        stack.kill(name)

    async def closed() -> bool:
        return await page.evaluate("() => window.source.readyState") == 2

    await wait_until(closed, 30)
    raw: list[tuple[str, dict[str, Any]]] = await page.evaluate("() => window.seen")
    viewer = Viewer("EventSource", generation, [Seen(at, event) for at, event in raw])
    assert check([viewer]) == []
    assert viewer.seen[-1].kind == "generation.completed"
    assert await page.evaluate("() => window.errors") >= 2
    streams = [url for url in requests if "/events" in url]
    assert len(streams) >= 3
