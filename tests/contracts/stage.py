"""Reading through the door, and what a log says when it is read with these tests' own eyes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest

from api.door import Door, Replay, Submitted
from broker.events import (
    TERMINAL_TYPES,
    Entry,
    ReasoningDelta,
    RefusalDelta,
    Started,
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
)
from broker.position import START, Position
from broker.request import GenerationRequest
from broker.tail_items import Batch, TailItem
from tests.support.waiting import wait_until

TENANT, STRANGER = "alice", "mallory"


class Stage(ABC):
    """One implementation of the door, and whoever drives its generations."""

    door: Door

    @abstractmethod
    def short(self, **fields: Any) -> GenerationRequest:
        """Asks for reasoning, text and a tool call, and completes soon after; keywords are fields of the request."""

    @abstractmethod
    def long(self, **fields: Any) -> GenerationRequest:
        """Says something at once and something more now and then, and does not end while a test looks at it."""

    @abstractmethod
    def failing(self) -> GenerationRequest:
        """Says something, then fails with a code."""

    @abstractmethod
    def restarting(self) -> GenerationRequest:
        """Says something, is begun again from the start, says something again, and ends in any way."""

    async def submit(
        self, request: GenerationRequest, *, tenant: str = TENANT, idempotency_key: str | None = None
    ) -> Submitted:
        """Submit, and let it be driven."""
        return await self.door.submit(request, tenant=tenant, idempotency_key=idempotency_key)

    @abstractmethod
    async def expire(self, generation: str) -> None:
        """The log of this generation, which has ended, passes its retention."""

    @abstractmethod
    async def lose(self, generation: str) -> None:
        """All of this generation is gone without a DELETE."""

    async def started(self, request: GenerationRequest, **how: Any) -> str:
        """Submit and return once it has said something."""
        generation = (await self.submit(request, **how)).record.id
        tenant = how.get("tenant", TENANT)

        async def begun() -> bool:
            return (await self.door.stat(generation, tenant=tenant)).top.seq > 4

        await wait_until(begun)
        return generation

    async def finished(self, request: GenerationRequest, **how: Any) -> str:
        """Submit and return once it has ended."""
        generation = (await self.submit(request, **how)).record.id
        record = await self.door.wait(generation, 10, tenant=how.get("tenant", TENANT))
        assert record.ended
        return generation

    async def read(
        self,
        generation: str,
        after: Position = START,
        *,
        replay: Replay = "exact",
        until: Callable[[TailItem], bool] | None = None,
    ) -> list[TailItem]:
        """Everything a tail yields up to its own end, or up to the first item for which ``until`` holds."""
        items: list[TailItem] = []
        async with aclosing(self.door.tail(generation, after, tenant=TENANT, replay=replay)) as tail:
            async for item in tail:
                items.append(item)
                if until is not None and until(item):
                    break
        return items


def entries(items: Iterable[TailItem]) -> list[Entry]:
    """The entries among the items."""
    return [entry for item in items if isinstance(item, Batch) for entry in item.entries]


def others(items: Iterable[TailItem]) -> list[TailItem]:
    """What is no entry."""
    return [item for item in items if not isinstance(item, Batch)]


def held(entry: Entry) -> int:
    """How many entries of the log an event stands for."""
    return getattr(entry.event, "merged", None) or 1


def assert_dense(log: list[Entry], after: int = 0) -> None:
    """By arithmetic nothing is missing, nothing comes twice; epochs never fall; a terminal event can only be last."""
    at, epoch = after, 0
    for entry in log:
        at += held(entry)
        assert entry.position.seq == at
        assert entry.position.epoch >= epoch
        epoch = entry.position.epoch
    assert not [entry for entry in log[:-1] if isinstance(entry.event, TERMINAL_TYPES)]


@dataclass
class Said:
    """What a log comes to: the attempt that stands."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    attempt: int = 0
    calls: dict[str, tuple[str, str, bool]] = field(default_factory=dict[str, tuple[str, str, bool]])
    signed: list[tuple[str | None, str | None]] = field(default_factory=list[tuple[str | None, str | None]])
    """Signatures and opaque parts of the reasoning."""

    @property
    def tools(self) -> list[tuple[str, str, str, bool]]:
        """Id, name, arguments, and whether the call is complete."""
        return [(call_id, *call) for call_id, call in self.calls.items()]


def said(log: Iterable[Entry]) -> Said:
    """Folded anew here, by nothing of the broker's."""
    whole = Said()
    for _, event in log:
        calls = whole.calls
        match event:
            case Started():
                whole = Said() if event.mode == "restart" else whole
                whole.attempt = event.attempt
            case TextDelta():
                whole.text += event.text
            case ReasoningDelta():
                whole.reasoning += event.text
                if event.signature is not None or event.opaque is not None:
                    whole.signed.append((event.signature, event.opaque))
            case RefusalDelta():
                whole.refusal += event.text
            case ToolCallStarted():
                calls[event.call_id] = (event.name, "", False)
            case ToolCallDelta():
                name, arguments, _ = calls[event.call_id]
                calls[event.call_id] = (name, arguments + event.arguments, False)
            case ToolCallCompleted():
                calls[event.call_id] = (event.name, event.arguments, True)
            case _:
                pass
    return whole


def all_ways(door: Door, generation: str, tenant: str) -> list[Callable[[], Awaitable[object]]]:
    """Every method that names a generation."""

    async def tail() -> None:
        async for item in door.tail(generation, START, tenant=tenant):
            raise AssertionError(item)

    return [
        lambda: door.get(generation, tenant=tenant),
        lambda: door.get(generation, tenant=tenant, output=False),
        lambda: door.stat(generation, tenant=tenant),
        lambda: door.wait(generation, 0.01, tenant=tenant),
        tail,
        lambda: door.cancel(generation, tenant=tenant),
        lambda: door.delete(generation, tenant=tenant),
    ]


def claims_all(request: pytest.FixtureRequest, exceptions: dict[str, str]) -> None:
    """Let the rules in ``exceptions`` (test name -> reason) be broken, and only as long as they are."""
    name = request.node.originalname
    if name in exceptions:
        request.applymarker(pytest.mark.xfail(reason=exceptions[name], strict=True))
