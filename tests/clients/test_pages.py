"""What a person does with a chat's page while an answer comes: load it anew, stop it, leave it, let it use tools."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec
import pytest
from playwright.async_api import BrowserContext

from tests.clients.browser import Chat
from tests.clients.clients import Stage
from tests.clients.left import Ask
from tests.clients.service import Service
from tests.clients.upstream import CALLS, whole
from tests.clients.wire import lose_the_rest, reset
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.clients, pytest.mark.timeout(90), pytest.mark.asyncio(loop_scope="session")]

_BOTH = pytest.mark.parametrize("client", ["usechat-default", "usechat-workflow"])
_PATIENCE_S = 30.0


@asynccontextmanager
async def _window(stage: Stage) -> AsyncGenerator[BrowserContext]:
    context = await stage.browser.new_context()
    try:
        yield context
    finally:
        await context.close()


async def _asked(context: BrowserContext, client: str, service: Service, *, tools: bool = False) -> Chat:
    ask = Ask(service.wire.url, "script/tools" if tools else "script/text", tools=tools)
    chat = Chat(await context.new_page(), client, ask)
    await chat.open()
    await chat.send()
    return chat


async def _shows(chat: Chat, part: str) -> None:
    async def shown() -> bool:
        return part in (await chat.look()).text

    await wait_until(shown, _PATIENCE_S)


async def _reloaded(chat: Chat, *, keeps: bool = True) -> Chat:
    kept = await chat.messages() if keeps else None
    again = Chat(chat.page, chat.client, msgspec.structs.replace(chat.ask, chat=chat.chat))
    await again.open(kept)
    return again


def _generation(service: Service) -> str:
    return service.wire.streams[-1].header("x-generation-id")


@pytest.mark.parametrize("keeps", [False, True], ids=["forgetful", "keeping"])
@_BOTH
async def test_a_page_loaded_anew_shows_the_answer_that_is_running(
    client: str, keeps: bool, stage: Stage, service: Service
) -> None:
    """From its first word, in one message, and the model is asked once; whatever the application has kept."""
    (mark,) = service.provider.hold(1)
    async with _window(stage) as context:
        chat = await _asked(context, client, service)
        await _shows(chat, mark.decode())
        again = await _reloaded(chat, keeps=keeps)
        await _shows(again, mark.decode())
        service.provider.release()
        left = await again.settled(_PATIENCE_S)
    assert (left.text, left.answers, left.finish) == (whole("text").text, 1, "ready"), service.wire.told
    assert service.provider.calls == ["text"]


@_BOTH
async def test_a_page_that_slept_through_the_end_shows_all_of_it(client: str, stage: Stage, service: Service) -> None:
    """It was closed in the middle, and is opened when the answer has ended."""
    (mark,) = service.provider.hold(1)
    async with _window(stage) as context:
        chat = await _asked(context, client, service)
        await _shows(chat, mark.decode())
        kept = await chat.messages()
        await chat.page.goto("about:blank")
        # What nginx takes for a page that it does not know to be gone counts as delivered.
        await wait_until(service.unwatched, 10)
        service.provider.release()
        assert (await service.ended(_generation(service)))["status"] == "completed"
        again = Chat(chat.page, client, msgspec.structs.replace(chat.ask, chat=chat.chat))
        await again.open(kept)
        left = await again.settled(_PATIENCE_S)
    assert (left.text, left.answers, left.finish) == (whole("text").text, 1, "ready"), service.wire.told
    assert service.provider.calls == ["text"]


@_BOTH
async def test_a_page_that_was_shown_all_is_shown_nothing_twice(client: str, stage: Stage, service: Service) -> None:
    """It shows what the application has kept, and nothing comes to that."""
    async with _window(stage) as context:
        chat = await _asked(context, client, service)
        assert (await chat.settled(_PATIENCE_S)).text == whole("text").text
        asked = len(service.wire.exchanges)
        again = await _reloaded(chat)
        await wait_until(lambda: len(service.wire.exchanges) > asked)
        await again.quiet()
        left = await again.look()
    assert (left.text, left.answers, left.error) == (whole("text").text, 1, None)


@_BOTH
async def test_a_stop_cancels(client: str, stage: Stage, service: Service) -> None:
    """POST …/stop ends the generation and the page's stream, and a page loaded anew has nothing to come back to."""
    (mark,) = service.provider.hold(1)
    async with _window(stage) as context:
        chat = await _asked(context, client, service)
        await _shows(chat, mark.decode())
        generation = _generation(service)
        assert await service.post(f"/v1/ui/chat/{chat.chat}/stop", {"activeStreamId": generation}) == {"success": True}
        left = await chat.settled(_PATIENCE_S)
        assert (left.finish, left.error) == ("ready", None)
        assert whole("text").text.startswith(left.text)
        assert left.text != whole("text").text
        record = await service.ended(generation)
        again = await _reloaded(chat, keeps=False)
        await again.quiet()
        assert (await again.look()).text == ""
    assert record["status"] == "cancelled"


@_BOTH
async def test_the_sdks_own_stop_only_looks_away(client: str, stage: Stage, service: Service) -> None:
    """`chat.stop()` closes the stream; the answer goes on, and `chat.resumeStream()` shows all of it."""
    (mark,) = service.provider.hold(1)
    async with _window(stage) as context:
        chat = await _asked(context, client, service)
        await _shows(chat, mark.decode())
        await chat.page.evaluate("() => window.chat.stop()")
        assert (await chat.settled(_PATIENCE_S)).text != whole("text").text
        assert (await service.get(f"/v1/generations/{_generation(service)}"))["status"] == "running"
        await wait_until(service.unwatched, 10)
        service.provider.release()
        await chat.page.evaluate("() => ((window.ended = undefined), void window.chat.resumeStream())")
        left = await chat.settled(_PATIENCE_S)
    assert (left.text, left.answers, left.finish) == (whole("text").text, 1, "ready"), service.wire.told
    assert service.provider.calls == ["text"]


@_BOTH
async def test_leaving_the_page_stops_nothing(client: str, stage: Stage, service: Service) -> None:
    """The tab is closed in the middle; the answer is finished and kept."""
    (mark,) = service.provider.hold(1)
    async with _window(stage) as context:
        chat = await _asked(context, client, service)
        await _shows(chat, mark.decode())
    generation = _generation(service)
    service.provider.release()
    record = await service.ended(generation)
    assert (record["status"], record["output"]["text"]) == ("completed", whole("text").text)
    assert service.provider.calls == ["text"]


@_BOTH
async def test_the_page_runs_the_tools(client: str, stage: Stage, service: Service) -> None:
    """Two calls, two results, and the answer to them, all in one message."""
    async with _window(stage) as context:
        chat = await _asked(context, client, service, tools=True)
        assert len((await chat.settled(_PATIENCE_S)).tools) == len(CALLS)
        await chat.run_tools()
        await _shows(chat, whole("text").text)
        left = await chat.settled(_PATIENCE_S)
    assert (left.answers, left.finish, left.error) == (1, "ready", None), service.wire.told
    assert service.provider.calls == ["tools", "tools"]
    results = [message for message in service.provider.asked[1]["messages"] if message["role"] == "tool"]
    assert [result["content"] for result in results] == ["sunny in Besançon", "sunny in Zürich"]


@_BOTH
async def test_a_page_loaded_anew_in_a_follow_up_shows_the_follow_up(
    client: str, stage: Stage, service: Service
) -> None:
    """The limit that docs/clients.md names: the page drops what the tools were asked, and shows the answer to them."""
    (mark,) = service.provider.hold(1)
    async with _window(stage) as context:
        chat = await _asked(context, client, service, tools=True)
        await chat.settled(_PATIENCE_S)
        await chat.run_tools()
        await _shows(chat, mark.decode())
        again = await _reloaded(chat)
        await _shows(again, mark.decode())
        service.provider.release()
        left = await again.settled(_PATIENCE_S)
    assert (left.text, left.tools, left.answers) == (whole("text").text, [], 1), service.wire.told
    assert service.provider.calls == ["tools", "tools"]


@pytest.mark.parametrize(("client", "tools"), [("usechat-default", 0), ("usechat-workflow", 2)])
async def test_a_cut_in_a_follow_up(client: str, tools: int, stage: Stage, service: Service) -> None:
    """The answer is whole; DefaultChatTransport has dropped what the tools were asked."""
    async with _window(stage) as context:
        chat = await _asked(context, client, service, tools=True)
        await chat.settled(_PATIENCE_S)
        service.plan(reset)
        await chat.run_tools()
        left = await chat.settled(_PATIENCE_S)
        if client == "usechat-default":
            assert left.finish == "error"
            await chat.show()
            left = await chat.settled(_PATIENCE_S)
    assert (left.text, len(left.tools), left.finish) == (whole("text").text, tools, "ready"), service.wire.told
    assert left.answers == 1


@pytest.mark.parametrize(("client", "all_of_it"), [("usechat-default", False), ("usechat-workflow", True)])
async def test_the_rest_was_sent_and_did_not_arrive(
    client: str, all_of_it: bool, stage: Stage, service: Service
) -> None:
    """To the service the answer has been read to its end; who says how much arrived is told the rest all the same."""
    service.plan(lose_the_rest)
    async with _window(stage) as context:
        chat = await _asked(context, client, service)
        if client == "usechat-default":
            assert (await chat.settled(_PATIENCE_S)).finish == "error"
            await chat.show()
            await chat.quiet()
        else:
            await chat.settled(_PATIENCE_S)
        left = await chat.look()
    assert (left.text == whole("text").text) == all_of_it, service.wire.told
    assert whole("text").text.startswith(left.text)
