"""What a client is asked to do, and what it was left with: one shape for all clients."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

MOST_TRIES = 20
_BROKEN = {"APIConnectionError", "RemoteProtocolError", "ReadError"}
"""What the Python SDKs raise when a connection breaks; one of them lets the errors of its HTTP library through."""


class Problem(msgspec.Struct, frozen=True):
    """The error that the application got: the name of its class, and its text."""

    type: str
    message: str


class ToolUse(msgspec.Struct, frozen=True):
    """A tool call as the application got it; ``arguments`` as JSON text."""

    name: str
    arguments: str


class Spent(msgspec.Struct, frozen=True):
    """Tokens, as far as the client says."""

    input: int | None = None
    output: int | None = None


class Left(msgspec.Struct):
    """All that the application has in its hands when the client is done."""

    text: str = ""
    reasoning: str = ""
    tools: list[ToolUse] = []
    finish: str | None = None
    """How the client says that it ended, in its own word."""
    usage: Spent | None = None
    error: Problem | None = None
    id: str | None = None
    """The answer's id on that wire."""
    resumed: int = 0
    """How often the client went on after a cut, where it can tell."""
    answers: int = 1
    """Messages of the assistant on the page of a chat."""
    reason: str | None = None
    """The finish reason that a chat's page was told."""


class Ask(msgspec.Struct, frozen=True):
    """One question to a model, through one client."""

    base: str
    model: str
    key: str = "key-of-this-test"
    prompt: str = "Say it."
    tools: bool = False
    """Offer the tool ``get_weather``."""
    resume: bool = False
    """After a cut, go on with the client's own means, where an application has to ask for that."""
    chat: str | None = None
    """A chat that is there already: its page was loaded anew."""
    idempotency_key: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What the application sends beside what its client sends."""
        return {"Idempotency-Key": self.idempotency_key} if self.idempotency_key else {}

    def with_key(self) -> Ask:
        """The same, and sure to be one generation however often it is asked."""
        return msgspec.structs.replace(self, idempotency_key=str(uuid.uuid4())) if self.resume else self


TOOL: dict[str, Any] = {
    "name": "get_weather",
    "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def problem(error: BaseException) -> Problem:
    """The error as the application sees it."""
    return Problem(type(error).__name__, str(error))


def again(once: Callable[[Ask], Awaitable[Left]]) -> Callable[[Ask], Awaitable[Left]]:
    """An application that asks again, with the same key, whenever the connection broke; only with ``ask.resume``."""

    @functools.wraps(once)
    async def run(ask: Ask) -> Left:
        ask = ask.with_key()
        left = await once(ask)
        tries = 0
        while _may_ask_again(ask, left) and tries < MOST_TRIES:
            tries += 1
            left = await once(ask)
        left.resumed = tries
        return left

    return run


def again_sync(once: Callable[[Ask], Left]) -> Callable[[Ask], Left]:
    """The same without asyncio."""

    @functools.wraps(once)
    def run(ask: Ask) -> Left:
        ask = ask.with_key()
        left = once(ask)
        tries = 0
        while _may_ask_again(ask, left) and tries < MOST_TRIES:
            tries += 1
            left = once(ask)
        left.resumed = tries
        return left

    return run


def _may_ask_again(ask: Ask, left: Left) -> bool:
    return ask.resume and left.error is not None and left.error.type in _BROKEN
