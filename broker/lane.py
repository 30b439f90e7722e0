"""One connection to Redis on which everybody's commands are pipelined by themselves. docs/adr/0014.

A command is posted and never waited for; all that is posted in one turn of the loop leaves in one write, and each
reply goes to its command's callback straight from the socket.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, TypeAlias, TypeVar

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from broker.link import Link, pack
from broker.redis import COMMAND_TIMEOUT_S, Redis
from broker.tasks import end

_log = logging.getLogger(__name__)

T = TypeVar("T")
Done: TypeAlias = Callable[[Any], None]
"""Gets the reply, or an exception *instance*: an error reply, or why there is none."""

WAITING_BYTES = 64 * 2**20
"""Commands that may wait for the connection."""
_NOT_TAKEN = "a reply was not taken"
_LOOKS = 8
"""How often, within one timeout, it is looked whether Redis answers."""


class Lane:
    """Connects when first needed and anew after every break.

    A broken connection fails what was sent on it and not answered: that may have run or not.
    """

    def __init__(self, redis: Redis, *, timeout_s: float = COMMAND_TIMEOUT_S) -> None:
        self._redis = redis
        self._timeout_s = timeout_s
        self._link: Link | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._waiting: list[tuple[bytes, Done]] = []
        self._waiting_bytes = 0
        self._out: list[bytes] = []
        self._sent: deque[Done] = deque()
        self._moved_at = 0.0
        """When Redis last answered, or the first unanswered command was sent."""
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def post(self, command: bytes, done: Done) -> None:
        """Send one packed command. Never waits; ``done`` is called once, in order, from the loop."""
        if self._link is None:
            self._wait(command, done)
            return
        if not self._out:
            loop = asyncio.get_running_loop()
            loop.call_soon(self._flush)
            if not self._sent:
                self._moved_at = loop.time()
                if self._timer is None:
                    self._timer = loop.call_later(self._timeout_s / _LOOKS, self._look)
        self._out.append(command)
        self._sent.append(done)

    async def call(self, *args: Any) -> Any:
        """One command and its reply. Raises ``RedisError``, also for an error reply."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def done(reply: Any) -> None:
            if not future.done():
                future.set_result(reply)

        self.post(pack(*args), done)
        reply = await future
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def calls(self, commands: Sequence[Sequence[Any]], then: Callable[[list[Any]], T]) -> T:
        """Commands one behind the other, nothing in between, and what ``then`` makes of their replies.

        It is called as soon as the last one is there: what it drops of many long replies is gone before the next ones
        are read. Error replies are among them. Raises what it raises, and ``RedisError`` when the connection broke.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        replies: list[Any] = []

        def done(reply: Any) -> None:
            replies.append(reply)
            if len(replies) < len(commands) or future.done():
                return
            try:
                future.set_result(then(_unbroken(replies)))
            except Exception as error:  # noqa: BLE001 - it is the caller's
                future.set_exception(error)

        for command in commands:
            self.post(pack(*command), done)
        return await future

    async def aclose(self) -> None:
        """Close; whatever was not answered fails."""
        self._closed = True
        if self._connecting is not None:
            await end(self._connecting)
        self._break(RedisConnectionError("closed"))
        self._fail_waiting(RedisConnectionError("closed"))
        await self._redis.aclose()

    # -- without a connection -------------------------------------------------------------------------------------

    def _wait(self, command: bytes, done: Done) -> None:
        loop = asyncio.get_running_loop()
        if self._closed or self._waiting_bytes + len(command) > WAITING_BYTES:
            why = "closed" if self._closed else "too much waits for a connection"
            loop.call_soon(_settle, done, RedisConnectionError(why))
            return
        self._waiting.append((command, done))
        self._waiting_bytes += len(command)
        if self._connecting is None:
            self._connecting = loop.create_task(self._connect())

    async def _connect(self) -> None:
        link = Link(self._replies, self._lost)
        try:
            await link.open(self._redis)
        except Exception as error:  # noqa: BLE001 - whatever it was, those who wait hear of it, and the next one tries anew
            self._connecting = None
            self._fail_waiting(error if isinstance(error, RedisError) else RedisConnectionError(str(error)))
            return
        self._connecting = None
        if not link.open_still:
            link.close()
            self._fail_waiting(RedisConnectionError("the connection was lost as soon as it was made"))
            return
        self._link = link
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        for command, done in waiting:
            self.post(command, done)

    def _fail_waiting(self, error: Exception) -> None:
        waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
        for _, done in waiting:
            # An error of its own for each: raised in many tasks, one would gather the tracebacks of them all.
            _settle(done, copy(error))

    # -- with one -------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._link is not None and out:
            self._link.write(b"".join(out))

    def _replies(self, replies: list[Any]) -> None:
        self._moved_at = asyncio.get_running_loop().time()
        sent = self._sent
        for reply in replies:
            if not sent:
                self._break(RedisConnectionError("Redis answered what nobody asked"))
                return
            done = sent.popleft()
            try:
                done(reply)
            except Exception:  # noqa: BLE001 - one caller's mistake must not cost the others their replies
                _log.exception(_NOT_TAKEN)

    def _look(self) -> None:
        """One timer for all commands: does Redis still answer?"""
        self._timer = None
        if not self._sent or self._link is None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() - self._moved_at >= self._timeout_s:
            self._break(RedisTimeoutError(f"no answer for {self._timeout_s:g} s"))
            return
        self._timer = loop.call_later(self._timeout_s / _LOOKS, self._look)

    def _lost(self, link: Link, error: Exception) -> None:
        if link is self._link:
            self._break(error if isinstance(error, RedisError) else RedisConnectionError(str(error)))

    def _break(self, error: Exception) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()
        self._out.clear()
        sent, self._sent = self._sent, deque()
        for done in sent:
            _settle(done, copy(error))


def _unbroken(replies: list[Any]) -> list[Any]:
    for reply in replies:
        if isinstance(reply, (RedisConnectionError, RedisTimeoutError)):
            raise reply
    return replies


def _settle(done: Done, reply: Any) -> None:
    try:
        done(reply)
    except Exception:  # noqa: BLE001 - one caller's mistake must not cost the others their replies
        _log.exception(_NOT_TAKEN)
