"""The doors that there are, through the broker's contract: the real one with a worker, the fake of the API tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, ClassVar

import pytest

from api.door import Submitted
from broker.client import Broker
from broker.errors import RejoinderError
from broker.events import (
    Completed,
    Event,
    Failed,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
)
from broker.request import GenerationRequest
from broker.settings import Settings
from broker.values import ErrorInfo, Usage
from tests.api.fake_door import FakeDoor
from tests.conftest import MakeSettings, StartWorker
from tests.contracts.broker import BrokerContract
from tests.contracts.stage import TENANT, Stage


class DemoStage(Stage):
    """A real broker, whose generations a real worker drives with the demo provider."""

    def __init__(self, door: Broker) -> None:
        self.door = door
        self.broker = door
        self.made: list[str] = []

    def short(self, **fields: Any) -> GenerationRequest:
        """Fast enough, and slow enough for a live reader to be there."""
        return demo({"tokens": 12, "rate": 2000, "reasoning": 5, "tool_call": True}, **fields)

    def long(self, **fields: Any) -> GenerationRequest:
        """Minutes of text."""
        return demo({"tokens": 50_000, "rate": 200}, **fields)

    def failing(self) -> GenerationRequest:
        """Fails after five tokens."""
        return demo({"tokens": 12, "rate": 2000, "fail_at": 5, "fail_code": "provider_overloaded", "fail_status": 529})

    def restarting(self) -> GenerationRequest:
        """Every call breaks off after five tokens; the second one is the last."""
        return demo({"tokens": 12, "rate": 2000, "truncate_at": 5}, on_provider_loss="restart")

    async def submit(
        self, request: GenerationRequest, *, tenant: str = TENANT, idempotency_key: str | None = None
    ) -> Submitted:
        """Submit, to be cancelled at the end of the test."""
        made = await super().submit(request, tenant=tenant, idempotency_key=idempotency_key)
        self.made.append(made.record.id)
        return made

    async def expire(self, generation: str) -> None:
        """As its TTL would."""
        await self.broker.redis.delete(self.broker.keys.log(generation))

    async def lose(self, generation: str) -> None:
        """As FLUSHALL would."""
        keys = self.broker.keys
        await self.broker.redis.delete(*(name(generation) for name in (keys.job, keys.log, keys.request)))

    async def aclose(self) -> None:
        """Leave the worker nothing to do."""
        for generation in self.made:
            with suppress(RejoinderError):
                await self.broker.jobs.cancel(generation, "client")


def demo(options: dict[str, Any], **fields: Any) -> GenerationRequest:
    """A request to the demo provider; each delta is an entry of its own."""
    plain: dict[str, Any] = {
        "model": "demo/demo-1",
        "input": "Tell me.",
        "delivery": {"batch": "none"},
        "provider_options": options,
    }
    return GenerationRequest.model_validate({**plain, **fields})


@pytest.mark.integration
class TestBroker(BrokerContract):
    """``broker.client.Broker``, on a real server."""

    @pytest.fixture
    def settings(self, make_settings: MakeSettings) -> Settings:
        """A worker that waits for nothing that a test has left running, and asks who broke off once more."""
        return make_settings(lease_s=2.0, worker_drain_s=0.0, max_attempts=2)

    @pytest.fixture
    async def stage(self, broker: Broker, start_worker: StartWorker) -> AsyncIterator[Stage]:
        """The broker and a worker."""
        await start_worker()
        stage = DemoStage(broker)
        yield stage
        await stage.aclose()


class PlayedStage(Stage):
    """The door in memory, whose generations a task of the test plays."""

    def __init__(self, door: FakeDoor) -> None:
        self.door = door
        self.fake = door
        self.tasks: set[asyncio.Task[None]] = set()

    def short(self, **fields: Any) -> GenerationRequest:
        """The script's name is the prompt."""
        return GenerationRequest.model_validate({"model": "demo/demo-1", "input": "short", **fields})

    def long(self, **fields: Any) -> GenerationRequest:
        """Likewise."""
        return GenerationRequest.model_validate({"model": "demo/demo-1", "input": "long", **fields})

    def failing(self) -> GenerationRequest:
        """Likewise."""
        return GenerationRequest(model="demo/demo-1", input="failing")

    def restarting(self) -> GenerationRequest:
        """Likewise."""
        return GenerationRequest(model="demo/demo-1", input="restarting")

    async def submit(
        self, request: GenerationRequest, *, tenant: str = TENANT, idempotency_key: str | None = None
    ) -> Submitted:
        """Submit, and begin to play what was asked for."""
        made = await super().submit(request, tenant=tenant, idempotency_key=idempotency_key)
        if not made.replayed:
            task = asyncio.get_running_loop().create_task(self.play(made.record.id, str(request.input)))
            self.tasks.add(task)
        return made

    async def play(self, generation: str, name: str) -> None:
        """An event a turn of the loop, until the generation has ended."""
        for event in script(name):
            await asyncio.sleep(0)
            log = self.fake.logs.get(generation)
            if log is None or log.ended:
                return
            self.fake.append(generation, event)

    async def expire(self, generation: str) -> None:
        """As the fake has it."""
        self.fake.expire(generation)

    async def lose(self, generation: str) -> None:
        """As the fake has it."""
        self.fake.lose(generation)

    async def aclose(self) -> None:
        """Stop playing."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def script(name: str) -> Iterator[Event]:
    """What a generation of this name says."""
    yield Started(1, "restart", "demo", "demo-1")
    if name == "restarting":
        yield TextDelta(0, "void")
        yield ToolCallStarted(1, "void", "f")
        yield Started(2, "restart", "demo", "demo-1")
    for part in ["first", "let", "me", "think"]:
        yield ReasoningDelta(0, part)
    for part in ["the", "answer", "is", "a", "long", "one"]:
        yield TextDelta(1, part)
    while name == "long":
        yield TextDelta(1, "more")
    if name == "failing":
        yield Failed(ErrorInfo("provider_overloaded", "no", True, 529), Usage(3, 4))
        return
    yield ToolCallStarted(2, "c1", "f")
    for part in ("{", "}"):
        yield ToolCallDelta(2, "c1", part)
    yield ToolCallCompleted(2, "c1", "f", "{}")
    yield Completed("tool_calls", usage=Usage(3, 12))


class TestFakeDoor(BrokerContract):
    """``tests.api.fake_door.FakeDoor``, as far as it claims to be a door."""

    exceptions: ClassVar[dict[str, str]] = {
        "test_delete_frees_the_key": "the fake keeps the key of what was deleted: the API tests delete without keys",
        "test_submit_answers_with_the_record": "the fake forgets the metadata: the API tests look for none of it",
        "test_the_record_says_what_the_log_says": "of the log the fake's record folds status, last id and output only",
    }

    @pytest.fixture
    async def stage(self) -> AsyncIterator[Stage]:
        """A door in memory."""
        stage = PlayedStage(FakeDoor())
        yield stage
        await stage.aclose()
