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


def _here(run: Callable[[Ask], Awaitable[Left]]) -> Run:
    return lambda _stage, ask: run(ask)


def _thread(run: Callable[[Ask], Left]) -> Run:
    return lambda _stage, ask: asyncio.to_thread(run, ask)


def _js(name: str) -> Run:
    return lambda stage, ask: stage.node.run(name, ask)


def _chat(name: str) -> Run:
    return lambda stage, ask: browser.run_chat(stage.browser, name, ask)


def _events(function: str) -> Run:
    return lambda stage, ask: browser.run_events(stage.browser, function, ask)


_PYTHON: tuple[tuple[str, str, Run], ...] = (
    ("openai-py-chat", "chat", _here(openai_py.chat)),
    ("openai-py-chat-sync", "chat", _thread(openai_py.chat_sync)),
    ("openai-py-chat-helper", "chat", _here(openai_py.chat_helper)),
    ("openai-py-chat-helper-sync", "chat", _thread(openai_py.chat_helper_sync)),
    ("openai-py-responses", "responses", _here(openai_py.responses)),
    ("openai-py-responses-sync", "responses", _thread(openai_py.responses_sync)),
    ("openai-py-responses-helper", "responses", _here(openai_py.responses_helper)),
    ("openai-py-responses-helper-sync", "responses", _thread(openai_py.responses_helper_sync)),
    ("anthropic-py", "messages", _here(anthropic_py.messages)),
    ("anthropic-py-sync", "messages", _thread(anthropic_py.messages_sync)),
    ("anthropic-py-helper", "messages", _here(anthropic_py.helper)),
    ("anthropic-py-helper-sync", "messages", _thread(anthropic_py.helper_sync)),
)
_NODE = (
    ("openai-js-chat", "chat"),
    ("openai-js-chat-helper", "chat"),
    ("openai-js-responses", "responses"),
    ("openai-js-responses-helper", "responses"),
    ("anthropic-js", "messages"),
    ("anthropic-js-helper", "messages"),
    ("ai-openai-responses", "responses"),
    ("ai-openai-chat", "chat"),
    ("ai-anthropic", "messages"),
    ("eventsource", "native"),
)
_BROWSER: tuple[tuple[str, str, Run], ...] = (
    ("usechat-default", "ui", _chat("usechat-default")),
    ("usechat-workflow", "ui", _chat("usechat-workflow")),
    ("eventsource-browser", "native", _events("eventSource")),
    ("fetch-event-source", "native", _events("fetchEventSource")),
)
_ALL = (*_PYTHON, *((name, wire, _js(name)) for name, wire in _NODE), *_BROWSER)
CLIENTS = {name: Client(name, wire, run) for name, wire, run in _ALL}
