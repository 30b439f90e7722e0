"""Probes, metrics, models."""

from __future__ import annotations

import httpx2
import pytest
from anthropic.types import ModelInfo
from openai.types import Model as OpenAIModel
from prometheus_client.parser import text_string_to_metric_families

from broker.events import Cancelled, Completed, Failed, Started
from broker.stats import FleetStats
from broker.telemetry import NodeMetrics, render
from broker.values import ErrorInfo
from tests.api.conftest import MakeClient
from tests.api.fake_door import FakeDoor


def samples(body: bytes | str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Name and label values of every sample."""
    text = body if isinstance(body, str) else body.decode()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_a_node_is_alive_and_ready(client: httpx2.AsyncClient) -> None:
    """Two questions, two answers."""
    assert (await client.get("/livez")).json() == {"status": "alive"}
    assert (await client.get("/readyz")).json() == {"status": "ready"}


@pytest.mark.parametrize("how", ["away", "stuck"])
async def test_without_redis_a_node_is_alive_and_not_ready(
    client: httpx2.AsyncClient, door: FakeDoor, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart would not help; other traffic should not come."""
    monkeypatch.setattr("api.health.ASK_S", 0.01)
    setattr(door, how, True)
    assert (await client.get("/livez")).status_code == 200
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "log_unavailable")
    metrics = samples((await client.get("/metrics")).text)
    assert ("rejoinder_stream_viewers", ()) in metrics
    assert ("rejoinder_active_generations", ()) not in metrics


async def test_metrics_show_the_fleet_and_the_node(client: httpx2.AsyncClient, door: FakeDoor) -> None:
    """In a form that Prometheus itself reads."""
    error = ErrorInfo("provider_error", "no")
    for events in ([Completed("stop")], [Completed("stop")], [Failed(error)], [Cancelled("client")], []):
        door.create(Started(1, "restart", "demo", "demo-1"), *events)
    await client.post("/v1/generations", json={"model": "demo/demo-1", "input": "x"})
    answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    seen = samples(answer.text)
    assert seen["rejoinder_generations_total", ("completed",)] == 2
    assert seen["rejoinder_generations_total", ("failed",)] == 1
    assert seen["rejoinder_generations_total", ("cancelled",)] == 1
    assert seen["rejoinder_output_tokens_total", ()] == 1234
    assert seen["rejoinder_active_generations", ()] == 2
    assert seen["rejoinder_queued_jobs", ()] == 2
    assert seen["rejoinder_submits_total", ()] == 1
    assert seen["rejoinder_time_to_first_token_seconds_bucket", ("0.1",)] == 1
    assert seen["rejoinder_time_to_first_token_seconds_bucket", ("+Inf",)] == 4
    assert seen["rejoinder_time_to_first_token_seconds_count", ()] == 4
    assert seen["rejoinder_time_to_first_token_seconds_sum", ()] == 5.5


def test_a_fleet_that_has_done_nothing_has_all_its_metrics() -> None:
    """A dashboard must show 0, not a hole."""
    node = NodeMetrics()
    node.broken["drain"] += 2
    seen = samples(render(node, FleetStats()))
    assert seen["rejoinder_generations_total", ("failed",)] == 0
    assert seen["rejoinder_time_to_first_token_seconds_bucket", ("+Inf",)] == 0
    assert seen["rejoinder_streams_broken_total", ("drain",)] == 2


async def test_models_are_listed_as_both_vendors_sdks_read_them(client: httpx2.AsyncClient) -> None:
    """One page has it all."""
    body = (await client.get("/v1/models")).json()
    assert (body["object"], body["has_more"]) == ("list", False)
    assert body["first_id"] == body["data"][0]["id"]
    listed = OpenAIModel.model_validate(body["data"][0])
    info = ModelInfo.model_validate(body["data"][0])
    assert (listed.id, listed.owned_by, info.display_name) == ("demo/demo-1", "demo", "demo/demo-1")


async def test_a_model_can_be_looked_up(client: httpx2.AsyncClient) -> None:
    """Whether it is listed or not, as long as somebody serves it."""
    for name in ("demo/demo-1", "openai/gpt-5", "claude-opus-4-6"):
        assert (await client.get(f"/v1/models/{name}")).json()["id"] == name
    assert (await client.get("/v1/models/nobody/x")).status_code == 404


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [("/v1/models/nobody/x", 404, "model_not_found"), ("/v1/embeddings", 404, "not_found")],
)
async def test_sdks_find_the_message_where_no_vendor_owns_the_path(
    client: httpx2.AsyncClient, path: str, status: int, code: str
) -> None:
    """They read ``error`` and nothing else: openai-js would say that there was no body."""
    answer = await client.get(path)
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert problem["error"]["message"] == problem["detail"]
    assert (problem["error"]["type"], problem["error"]["code"]) == ("invalid_request_error", code)
    assert "error" not in (await client.get("/v1/generations/gen_0")).json()


async def test_a_wrong_key_is_told_to_whoever_asks_for_models(make_client: MakeClient) -> None:
    """The first call of many a client, to see whether its key is right."""
    async with make_client(api_keys={"a": "k"}) as client:
        answer = await client.get("/v1/models")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
