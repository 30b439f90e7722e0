"""What a system under test offers, whoever made it: streams to publish on, viewers to hold, processes to measure.

A system is an async context manager: inside it, it runs, its server process pinned to the servers' core (see
:mod:`bench.machine`), everything else of it on the other one. It is started afresh for every round of every scenario.

Tokens carry their own evidence: the text of token ``n`` of a stream, counted from 1, holds ``#n@ns@`` once, with ``ns``
the sender's CLOCK_MONOTONIC. The load generator finds these marks wherever they stand in a data line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from bench.redis_meter import RedisMeter

JsonObject: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream; ``data`` is JSON that the system's publisher needs (owner, epoch, channel …)."""

    name: str
    data: JsonObject = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Viewer:
    """One GET, or a POST of ``body``: where, with which headers, and what must come first."""

    path: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    next: int = 1
    """Number of the first token that it must see."""
    seq: int = 0
    """Last seq of an ``<epoch>-<seq>`` id that it has seen; only where :attr:`System.ids` is true."""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Publishing:
    """How the producer, which is a process of its own, publishes: ``make`` is ``"module:function"``.

    The function is called in the producer's process as ``function(args, streams)`` and answers a :class:`Publisher`.
    """

    make: str
    args: JsonObject = field(default_factory=dict[str, Any])


class Publisher(Protocol):
    """Publishes tokens; lives in the producer's process."""

    async def open(self) -> None:
        """Connect."""
        ...

    def publish(self, stream: int, number: int, text: bytes) -> None:
        """Take token ``number`` of the stream with this index. Never waits."""
        ...

    def flush(self) -> None:
        """Send what was taken, in as few writes as possible. Never waits."""
        ...

    async def settle(self) -> None:
        """Return when all that was sent has been acknowledged. Raises for a token that was refused."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


class System(Protocol):
    """A system that runs. ``name`` is what ``--systems`` and the report call it."""

    name: str
    ids: bool
    """Its events have ``<epoch>-<seq>`` ids (and perhaps ``merged``) whose density is to be checked."""
    port: int
    """Where viewers connect, on the loopback."""

    @property
    def pids(self) -> Mapping[str, Sequence[int]]:
        """Role -> processes: ``node`` (what serves viewers, the measured one) and whatever else it needs."""
        ...

    @property
    def redis(self) -> RedisMeter | None:
        """Its Redis, where it has one."""
        ...

    async def open_streams(self, count: int) -> list[Stream]:
        """Make that many fresh streams without a token in them."""
        ...

    async def viewers(self, wanted: Sequence[tuple[Stream, int]]) -> list[Viewer]:
        """Viewers who have seen the tokens up to a number (0 = nothing yet): they resume behind it.

        Raises ``NotImplementedError`` where the system can't resume there.
        """
        ...

    def publishing(self) -> Publishing:
        """How to publish on it."""
        ...

    async def log_bytes(self, stream: Stream) -> int | None:
        """Bytes of Redis memory that the stream's log takes; ``None`` without one."""
        ...


MakeSystem: TypeAlias = Callable[[], AbstractAsyncContextManager[System]]
