"""An outage between a claim and its first append."""

from __future__ import annotations

from typing import Any

import pytest

from broker.client import Broker
from broker.errors import LogUnavailable
from broker.jobs import JobStore
from broker.log import StreamLog
from broker.request import GenerationRequest
from tests.conftest import StartWorker
from tests.integration.reading import request

pytestmark = pytest.mark.integration


async def test_a_claim_survives_a_short_outage(
    broker: Broker, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request can't be read at first: it is read a moment later, under the same claim."""
    read = JobStore.request
    left = 3

    async def away(self: JobStore, generation: str) -> GenerationRequest:
        nonlocal left
        left -= 1
        if left >= 0:
            raise LogUnavailable
        return await read(self, generation)

    monkeypatch.setattr(JobStore, "request", away)
    made = await broker.submit(request(5, 1000))
    await start_worker()
    record = await broker.wait(made.record.id, 8)
    assert (record.status, record.attempt, left) == ("completed", 1, -1)


async def test_a_claim_that_no_server_answers_is_no_error_of_the_job(
    broker: Broker, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The job stays where it is, nobody is alarmed, and it runs when the server answers."""
    claim = StreamLog.claim
    left = 2

    async def away(self: StreamLog, *args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left >= 0:
            raise LogUnavailable
        return await claim(self, *args, **kwargs)

    monkeypatch.setattr(StreamLog, "claim", away)
    made = await broker.submit(request(5, 1000))
    await start_worker()
    record = await broker.wait(made.record.id, 15)
    assert (record.status, record.attempt, left) == ("completed", 1, -1)
    assert [row for row in caplog.records if row.levelname == "ERROR"] == []
    assert any("left for later" in row.message for row in caplog.records)
