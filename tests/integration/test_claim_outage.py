"""An outage between a claim and its first append."""

from __future__ import annotations

import pytest

from broker.client import Broker
from broker.errors import LogUnavailable
from broker.jobs import JobStore
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
