"""An outage between a claim and its first append."""
# pyright: reportPrivateUsage=false
# (how patiently it reads is nobody else's business)

from __future__ import annotations

from typing import Any

import pytest

from broker.client import Broker
from broker.errors import LogUnavailable
from broker.log import StreamLog
from tests.conftest import StartWorker
from tests.integration.reading import request
from worker.generate import Generator
from worker.providers.registry import Registry

pytestmark = pytest.mark.integration


async def test_what_a_claim_needs_is_read_through_a_short_outage(broker: Broker) -> None:
    """What stands in the log can't be read at first: it is read a moment later, under the same claim."""
    generator = Generator(broker, Registry(broker.settings, {}))
    left = 2

    async def read() -> str:
        nonlocal left
        left -= 1
        if left >= 0:
            raise LogUnavailable
        return "read"

    assert (await generator._patiently(read), left) == ("read", -1)


async def test_a_claim_whose_request_is_lost_ends_by_its_attempts(broker: Broker, start_worker: StartWorker) -> None:
    """Nothing can be asked of any provider, and the log says so in the end: its workers are lost, one by one."""
    made = await broker.submit(request(5, 1000))
    await broker.redis.delete(broker.keys.request(made.record.id))
    await start_worker(broker.settings.model_copy(update={"lease_s": 0.5, "max_attempts": 2}))
    record = await broker.wait(made.record.id, 15)
    assert record.error is not None
    assert (record.status, record.error.code) == ("failed", "worker_lost")


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
    await start_worker(broker.settings.model_copy(update={"lease_s": 0.5}))
    record = await broker.wait(made.record.id, 15)
    assert (record.status, record.attempt, left) == ("completed", 1, -1)
    assert [row for row in caplog.records if row.levelname == "ERROR"] == []
    assert any("left for later" in row.message for row in caplog.records)
