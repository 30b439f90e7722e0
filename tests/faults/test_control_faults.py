"""Cancels in the moments when they are usually lost, and what nobody may ask for."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import patch

import pytest

from broker.client import Broker
from broker.request import GenerationRequest
from broker.settings import Settings
from tests.conftest import MakeSettings, StartWorker
from tests.support.upstream import Reply, Upstream
from tests.support.waiting import wait_until

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(make_settings: MakeSettings, upstream: Upstream) -> Settings:
    """It is OpenAI; a lease that is soon renewed."""
    key: dict[str, Any] = {"OPENAI_API_KEY": "sk-test", "OPENAI_BASE_URL": f"{upstream.url}/v1"}
    return make_settings(lease_s=1.5, **key)


async def test_a_cancel_whose_message_is_lost_is_heard_with_the_next_renewal(
    broker: Broker, upstream: Upstream, start_worker: StartWorker
) -> None:
    """A worker that is deaf to messages finds the flag within a third of its lease."""

    async def deaf(*_: object) -> None:
        await asyncio.Event().wait()

    with patch("worker.main._hear_cancels", deaf):
        await start_worker()
    upstream.replies.append(Reply(then="silence"))
    made = await broker.submit(GenerationRequest(model="openai/gpt-x", input="x"))
    await wait_until(lambda: upstream.live == 1)
    await broker.cancel(made.record.id)
    record = await broker.wait(made.record.id, 5)
    assert record.status == "cancelled"
    await wait_until(lambda: upstream.live == 0)


def test_nothing_we_are_given_is_fetched_by_us() -> None:
    """No field of a request is an address that the service itself would ask: there are no webhooks to forge."""
    schema = str(GenerationRequest.model_json_schema())
    assert "webhook" not in schema
    assert "callback" not in schema
