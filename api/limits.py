"""What one request may cost: the size of its body, and how often a tenant and an address may submit."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import Message, Receive, Send

from broker.errors import BodyTooLarge, RateLimited

LINGER_S = 2.0
"""How long the rest of a refused body is thrown away: a connection closed under a sender's hands would be reset, and
the sender would never see the 413."""


class Body:
    """Both ends of one request, with a limit on what comes in."""

    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive = receive
        self._send = send
        self._limit = limit
        self._size = 0
        self._refused = False
        self._more = True
        self.started = False
        """Whether the response has begun."""
        self.ended = False
        """Whether the response is complete."""

    def check(self, headers: Headers) -> None:
        """Raises ``BodyTooLarge`` when the announced length is over the limit; nothing is read."""
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._limit:
            self._refuse()

    async def receive(self) -> Message:
        """The next message. Raises ``BodyTooLarge`` as soon as the body is over the limit."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._size += len(message.get("body", b""))
            self._more = message.get("more_body", False)
            if self._size > self._limit:
                self._refuse()
        return message

    async def send(self, message: Message) -> None:
        """Pass a message on; a refused request's connection closes, once its sender has had time to look."""
        if message["type"] == "http.response.start":
            self.started = True
            if self._refused:
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        elif not message.get("more_body", False):
            self.ended = True
            if self._refused:
                await self._send({**message, "more_body": True})
                await self._linger()
                message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    def _refuse(self) -> None:
        self._refused = True
        raise BodyTooLarge(f"the body is larger than {self._limit} bytes")

    async def _linger(self) -> None:
        try:
            async with asyncio.timeout(LINGER_S):
                while self._more:
                    message = await self._receive()
                    self._more = message["type"] == "http.request" and message.get("more_body", False)
        except TimeoutError:
            return


class SubmitLimit:
    """At most so many submits for each tenant, and for each address, on this node. No limit when none is set."""

    def __init__(self, limit: str | None) -> None:
        self._item = parse(limit) if limit else None
        self._windows = MovingWindowRateLimiter(MemoryStorage())

    async def charge(self, tenant: str, request: HTTPConnection) -> None:
        """Count a submit. Raises ``RateLimited`` with the seconds to wait, and then counts nothing."""
        await self.check(tenant, request)
        await self.count(tenant, request)

    async def check(self, tenant: str, request: HTTPConnection) -> None:
        """Raises ``RateLimited`` when one more would be too many."""
        for name in _names(tenant, request) if self._item else ():
            if self._item and not await self._windows.test(self._item, name):
                stats = await self._windows.get_window_stats(self._item, name)
                wait_s = max(stats.reset_time - datetime.now(UTC).timestamp(), 0.0)
                error = RateLimited(f"too many submits; wait {wait_s:.1f} s")
                error.retry_after_s = wait_s
                raise error

    async def count(self, tenant: str, request: HTTPConnection) -> None:
        """Count a submit that has been made already."""
        for name in _names(tenant, request) if self._item else ():
            if self._item:
                await self._windows.hit(self._item, name)


def _names(tenant: str, request: HTTPConnection) -> tuple[str, ...]:
    address = (f"address:{request.client.host}",) if request.client else ()
    return (f"tenant:{tenant}", *address)
