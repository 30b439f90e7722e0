"""Every client that is tested, by the name that tables and test ids give it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from playwright.async_api import Browser

from tests.clients import anthropic_py, browser, openai_py
from tests.clients.left import Ask, Left
from tests.clients.node import Node

Run = Callable[["Stage", Ask], Awaitable[Left]]


@dataclass(frozen=True)
class Stage:
    """What the clients run in."""

    node: Node
    browser: Browser


@dataclass(frozen=True)
class Client:
    """One way to read an answer."""

    name: str
    wire: str
    """``chat``, ``responses``, ``messages``, ``ui`` or ``native``."""
    run: Run
    package: str
    """Whose it is, and which part of it, for the table."""


def _here(run: Callable[[Ask], Awaitable[Left]]) -> Run:
    return lambda _stage, ask: run(ask)


def _thread(run: Callable[[Ask], Left]) -> Run:
    return lambda _stage, ask: asyncio.to_thread(run, ask)


def _js(name: str) -> Run:
    return lambda stage, ask: stage.node.run(name, ask)


def _chat(name: str) -> Run:
    return lambda stage, ask: browser.run_chat(stage.browser, name, ask)


def _fetch(stage: Stage, ask: Ask) -> Awaitable[Left]:
    return browser.run_fetch_event_source(stage.browser, ask)


_PYTHON = (
    Client("openai-py-chat", "chat", _here(openai_py.chat), "openai (Python), `chat.completions.create`"),
    Client("openai-py-chat-sync", "chat", _thread(openai_py.chat_sync), "the same, sync"),
    Client("openai-py-chat-helper", "chat", _here(openai_py.chat_helper), "openai (Python), `chat.completions.stream`"),
    Client("openai-py-chat-helper-sync", "chat", _thread(openai_py.chat_helper_sync), "the same, sync"),
    Client("openai-py-responses", "responses", _here(openai_py.responses), "openai (Python), `responses.create`"),
    Client("openai-py-responses-sync", "responses", _thread(openai_py.responses_sync), "the same, sync"),
    Client(
        "openai-py-responses-helper",
        "responses",
        _here(openai_py.responses_helper),
        "openai (Python), `responses.stream`",
    ),
    Client("openai-py-responses-helper-sync", "responses", _thread(openai_py.responses_helper_sync), "the same, sync"),
    Client("anthropic-py", "messages", _here(anthropic_py.messages), "anthropic (Python), `messages.create`"),
    Client("anthropic-py-sync", "messages", _thread(anthropic_py.messages_sync), "the same, sync"),
    Client("anthropic-py-helper", "messages", _here(anthropic_py.helper), "anthropic (Python), `messages.stream`"),
    Client("anthropic-py-helper-sync", "messages", _thread(anthropic_py.helper_sync), "the same, sync"),
)
_JAVASCRIPT = tuple(
    Client(name, wire, _js(name), package)
    for name, wire, package in (
        ("openai-js-chat", "chat", "openai (JS), `chat.completions.create`"),
        ("openai-js-chat-helper", "chat", "openai (JS), `chat.completions.stream`"),
        ("openai-js-responses", "responses", "openai (JS), `responses.create`"),
        ("openai-js-responses-helper", "responses", "openai (JS), `responses.stream`"),
        ("anthropic-js", "messages", "@anthropic-ai/sdk, `messages.create`"),
        ("anthropic-js-helper", "messages", "@anthropic-ai/sdk, `messages.stream`"),
        ("ai-openai-responses", "responses", "ai + @ai-sdk/openai, `openai(…)`"),
        ("ai-openai-chat", "chat", "ai + @ai-sdk/openai, `openai.chat(…)`"),
        ("ai-anthropic", "messages", "ai + @ai-sdk/anthropic"),
        ("eventsource", "native", "eventsource (npm)"),
    )
)
_BROWSER = (
    Client("usechat-default", "ui", _chat("usechat-default"), "useChat, `DefaultChatTransport`"),
    Client("usechat-workflow", "ui", _chat("usechat-workflow"), "useChat, `WorkflowChatTransport`"),
    Client("fetch-event-source", "native", _fetch, "@microsoft/fetch-event-source"),
)
CLIENTS = {client.name: client for client in (*_PYTHON, *_JAVASCRIPT, *_BROWSER)}
