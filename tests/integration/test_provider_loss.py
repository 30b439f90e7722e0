"""A provider dies in the middle of its answer: ``on_provider_loss`` says what becomes of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from unittest.mock import patch

import pytest

from broker.client import Broker
from broker.request import GenerationRequest
from broker.settings import Settings
from tests.conftest import MakeSettings, StartWorker
from tests.integration.reading import read
from tests.support.history import Viewer, answer, check
from tests.support.upstream import Reply, Upstream, chat_frames

pytestmark = pytest.mark.integration


def delta(text: str) -> str:
    """One chunk of text."""
    return json.dumps({"id": "c", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})


def usage(tokens: int) -> str:
    """What the call cost."""
    counts = {"prompt_tokens": 5, "completion_tokens": tokens, "total_tokens": tokens + 5}
    return json.dumps({"id": "c", "choices": [], "usage": counts})


STOP = json.dumps({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
CUT = Reply(chat_frames([delta("Once "), delta("upon ")]), "cut")
REST = Reply(chat_frames([delta("a time"), STOP, usage(2), "[DONE]"]))
WHOLE = Reply(chat_frames([delta("Once "), delta("upon "), delta("a time"), STOP, usage(4), "[DONE]"]))
BUSY = Reply(status=503, body='{"error":{"message":"busy"}}')
REFUSES_PREFIX = Reply(status=400, body='{"error":{"message":"continue_final_message is not supported"}}')


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """The provider."""
    async with Upstream() as stub:
        yield stub


@pytest.fixture
def settings(make_settings: MakeSettings, upstream: Upstream, tmp_path: Path) -> Settings:
    """Two names for it: one that continues and one that can't."""
    config = tmp_path / "config.toml"
    config.write_text(
        f'[providers.vllm]\nbase_url = "{upstream.url}/v1"\ncan_continue = true\n'
        f'[providers.plain]\nbase_url = "{upstream.url}/v1"\n'
    )
    return make_settings(lease_s=2.0, config=config, max_retries=2)


@pytest.fixture(autouse=True)
async def quick(start_worker: StartWorker) -> AsyncIterator[None]:
    """A worker, with pauses that take no time."""
    with patch("worker.upstream.BASE_S", 0.001):
        await start_worker()
        yield


async def run(broker: Broker, model: str, policy: str, **fields: object) -> tuple[Viewer, Settings]:
    """Submit and read to the end."""
    wanted = GenerationRequest.model_validate({"model": model, "input": "x", "on_provider_loss": policy, **fields})
    made = await broker.submit(wanted)
    viewer = await read(broker, made.record.id)
    assert check([viewer]) == []
    return viewer, broker.settings


def starts(viewer: Viewer) -> list[tuple[int, str]]:
    """Attempt and mode of every beginning."""
    return [(s.event["attempt"], s.event["mode"]) for s in viewer.seen if s.kind == "generation.started"]


async def test_continue_goes_on_where_the_text_ends(broker: Broker, upstream: Upstream) -> None:
    """The provider is given what it said, nobody's text is cleared, and both calls are on the bill."""
    upstream.replies += [CUT, REST]
    viewer, _ = await run(broker, "vllm/m", "continue")
    assert answer(viewer.seen) == "Once upon a time"
    assert starts(viewer) == [(1, "restart"), (2, "continue")]
    assert upstream.asked[1].body["messages"][-1] == {"role": "assistant", "content": "Once upon "}
    record = await broker.get(viewer.generation)
    assert (record.status, record.attempt) == ("completed", 2)
    assert record.usage is not None
    assert record.usage.output_tokens == 2


async def test_continue_restarts_where_the_model_cannot(broker: Broker, upstream: Upstream) -> None:
    """A capability of the model, not a wish."""
    upstream.replies += [CUT, WHOLE]
    viewer, _ = await run(broker, "plain/m", "continue")
    assert answer(viewer.seen) == "Once upon a time"
    assert starts(viewer) == [(1, "restart"), (2, "restart")]


async def test_a_refused_beginning_falls_back_to_restart(broker: Broker, upstream: Upstream) -> None:
    """What was said stays until the new answer's first token is there."""
    upstream.replies += [CUT, REFUSES_PREFIX, WHOLE]
    viewer, _ = await run(broker, "vllm/m", "continue")
    assert answer(viewer.seen) == "Once upon a time"
    assert starts(viewer) == [(1, "restart"), (2, "restart")]


async def test_restart_asks_from_the_start(broker: Broker, upstream: Upstream) -> None:
    """Also where the model could continue."""
    upstream.replies += [CUT, WHOLE]
    viewer, _ = await run(broker, "vllm/m", "restart")
    assert answer(viewer.seen) == "Once upon a time"
    assert starts(viewer) == [(1, "restart"), (2, "restart")]
    assert len(upstream.asked[1].body["messages"]) == 1


async def test_fail_is_the_default(broker: Broker, upstream: Upstream) -> None:
    """One call, and the part that came stays readable."""
    upstream.replies += [CUT]
    made = await broker.submit(GenerationRequest.model_validate({"model": "vllm/m", "input": "x"}))
    viewer = await read(broker, made.record.id)
    record = await broker.get(made.record.id)
    assert (record.status, record.error and record.error.code) == ("failed", "provider_truncated")
    assert answer(viewer.seen) == "Once upon "
    assert len(upstream.asked) == 1


async def test_a_provider_that_dies_every_time_ends_the_generation(broker: Broker, upstream: Upstream) -> None:
    """After max_attempts losses; the last part stands."""
    upstream.replies += [CUT, CUT, CUT]
    viewer, settings = await run(broker, "plain/m", "restart")
    assert len(upstream.asked) == settings.max_attempts == 3
    assert starts(viewer) == [(1, "restart"), (2, "restart"), (3, "restart")]
    assert viewer.seen[-1].event["error"]["code"] == "provider_truncated"
    assert answer(viewer.seen) == "Once upon "


async def test_a_second_call_that_gives_nothing_voids_nothing(broker: Broker, upstream: Upstream) -> None:
    """The boundary is written with the new answer's first token, not before it."""
    upstream.replies += [CUT, BUSY, BUSY, BUSY]
    viewer, _ = await run(broker, "plain/m", "restart")
    assert starts(viewer) == [(1, "restart")]
    assert [s.kind for s in viewer.seen].count("generation.retrying") == 2
    assert viewer.seen[-1].event["error"]["code"] == "provider_overloaded"
    assert answer(viewer.seen) == "Once upon "


async def test_a_refusal_between_two_calls_is_retried(broker: Broker, upstream: Upstream) -> None:
    """Before its own first token, the second call may be asked again like any other."""
    upstream.replies += [CUT, BUSY, REST]
    viewer, _ = await run(broker, "vllm/m", "continue")
    assert answer(viewer.seen) == "Once upon a time"
    assert viewer.seen[-1].kind == "generation.completed"


async def test_what_asking_again_cannot_mend_fails_at_once(broker: Broker, upstream: Upstream) -> None:
    """A refused content stays refused."""
    error = json.dumps({"error": {"message": "no", "code": "content_filter"}})
    upstream.replies += [Reply(chat_frames([delta("Once "), error]))]
    viewer, _ = await run(broker, "vllm/m", "continue")
    assert viewer.seen[-1].event["error"]["code"] == "content_rejected"
    assert len(upstream.asked) == 1
