"""The examples of docs/clients.md and of the README for other people's SDKs, run as they stand there, with cuts."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from tests.clients.browser import FOLDER, SHOW
from tests.clients.clients import Stage
from tests.clients.node import NODE, bundle
from tests.clients.service import KEY, Service
from tests.clients.upstream import whole
from tests.clients.wire import close, reset
from tests.docs.blocks import ROOT, Block, blocks
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.clients, pytest.mark.timeout(90), pytest.mark.asyncio(loop_scope="session")]

_BLOCKS = [*blocks(ROOT / "docs/clients.md"), *blocks(ROOT / "README.md")]
_MOUNT = """
import { createElement, useEffect } from "react";
import { createRoot } from "react-dom/client";
function Page() {
  const chat = useAnswer("a chat");
  useEffect(() => void (window.chat = chat));
  return null;
}
createRoot(document.body.appendChild(document.createElement("div"))).render(createElement(Page));
"""
_TEXT = "window.chat.messages.flatMap(({ role, parts }) => role === 'user' ? [] : parts.map(({ text }) => text ?? ''))"
_PATIENCE_S = 30.0


def _with(language: str, *words: str) -> list[Any]:
    found = [block for block in _BLOCKS if block.language == language and all(word in block.code for word in words)]
    assert found, words
    return [pytest.param(block, id=str(block)) for block in found]


def _code(block: Block, service: Service) -> str:
    code = block.code.replace("http://127.0.0.1:8000", service.wire.url)
    for model in ("openai/gpt-5-mini", "demo/demo-1"):
        code = code.replace(model, "script/text")
    if "YOUR-" not in code:
        # Written for a service without keys, which this one is not.
        code = code.replace("body: {", 'headers: { Authorization: "Bearer YOUR-TOKEN" }, body: {')
    return code.replace("YOUR-KEY", KEY).replace("YOUR-TOKEN", KEY)


@pytest.mark.parametrize("block", _with("py", "while True"))
async def test_python_goes_on(block: Block, service: Service) -> None:
    """Cut twice after it has begun; it is left with the whole answer, which was paid once."""
    service.plan(reset, close)
    names: dict[str, Any] = {}
    await asyncio.to_thread(exec, _code(block, service), names)
    text = names["text"] if "text" in names else await asyncio.to_thread(names["answer"], "Tell me about logs")
    assert text == whole("text").text, service.wire.told
    assert (service.provider.calls, len(service.wire.plans)) == (["text"], 0)


@pytest.mark.parametrize("block", _with("ts", "for (;;)"))
async def test_node_goes_on(block: Block, service: Service, tmp_path: Path) -> None:
    """Likewise."""
    service.plan(reset, close)
    script = await bundle(f"{_code(block, service)}\nconsole.log(JSON.stringify(text));", tmp_path, "node")
    process = await asyncio.create_subprocess_exec(str(NODE), str(script), stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    assert json.loads(said) == whole("text").text, service.wire.told
    assert (service.provider.calls, len(service.wire.plans)) == (["text"], 0)


@asynccontextmanager
async def _page(stage: Stage, service: Service, script: Path) -> AsyncGenerator[Page]:
    context = await stage.browser.new_context()
    try:
        page = await context.new_page()
        await page.goto(f"{service.wire.url}{FOLDER}/blank.html")
        async with page.expect_request(lambda request: "/v1/" in request.url):
            await page.add_script_tag(path=script)
        yield page
    finally:
        await context.close()


@pytest.mark.parametrize("block", _with("ts", "fetchEventSource("))
async def test_a_page_goes_on(block: Block, stage: Stage, service: Service, tmp_path: Path) -> None:
    """What the page shows is the answer, without a hole."""
    service.plan(reset, close)
    script = await bundle(_as_script(_code(block, service)), tmp_path, "browser")
    async with _page(stage, service, script) as page:

        async def shown() -> bool:
            return await page.evaluate("document.body.textContent") == whole("text").text

        await wait_until(shown, _PATIENCE_S)
    assert (service.provider.calls, len(service.wire.plans)) == (["text"], 0), service.wire.told


def _as_script(code: str) -> str:
    """A page's script, unlike a module, can't wait at its top."""
    lines = code.splitlines()
    imports = [line for line in lines if line.startswith("import ")]
    rest = [line for line in lines if line not in imports]
    return "\n".join([*imports, "void (async () => {", *rest, "})();"])


@pytest.mark.parametrize("block", _with("ts", "useAnswer"))
async def test_a_chat_goes_on(block: Block, stage: Stage, service: Service, tmp_path: Path) -> None:
    """By itself, or when the person comes back to the tab."""
    mount = _MOUNT.replace("a chat", f"a chat {uuid.uuid4()}")
    script = await bundle(_code(block, service) + mount, tmp_path, "browser")
    async with _page(stage, service, script) as page:
        await page.wait_for_load_state("networkidle")
        service.plan(reset)
        await page.evaluate("void window.chat.sendMessage({ text: 'Tell me about logs' })")

        async def shown() -> bool:
            if await page.evaluate("window.chat.status") == "error":
                await page.evaluate(SHOW)
            return "".join(await page.evaluate(_TEXT)) == whole("text").text

        await wait_until(shown, _PATIENCE_S)
    assert (service.provider.calls, len(service.wire.plans)) == (["text"], 0), service.wire.told
