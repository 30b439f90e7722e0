"""Contract section 3: submit, look, list, cancel, delete."""

from __future__ import annotations

import uuid
from typing import Any

import httpx2
import pytest

from tests.contract.talk import body, events, finished, frames, submit
from tests.support.history import answer

pytestmark = pytest.mark.contract


def is_problem(response: httpx2.Response, status: int, code: str) -> bool:
    """Whether this is the problem it should be."""
    assert response.headers["content-type"].startswith("application/problem+json")
    problem = response.json()
    assert (response.status_code, problem["code"], problem["status"]) == (status, code, status), problem
    return True


def test_http_1_submit_answers_202_with_the_record_and_its_location(http: httpx2.Client) -> None:
    """HTTP: the record is queued or further, and its links lead somewhere."""
    response = http.post("/v1/generations", json=body(metadata={"a": "b"}))
    record = response.json()
    assert response.status_code == 202
    assert response.headers["location"] == f"/v1/generations/{record['id']}" == record["links"]["self"]
    assert record["object"] == "generation"
    assert record["metadata"] == {"a": "b"}
    assert response.headers["x-rejoinder-node"]


def test_http_1_submit_with_accept_event_stream_streams_at_once(http: httpx2.Client) -> None:
    """HTTP: 200, the location, and the whole log."""
    response = http.post("/v1/generations", json=body(), headers={"accept": "text/event-stream"})
    seen = [s for s in frames(response.content) if s.id]
    assert response.status_code == 200
    assert response.headers["location"].startswith("/v1/generations/gen_")
    assert [s.position[1] for s in seen] == list(range(1, len(seen) + 1))
    assert seen[-1].kind == "generation.completed"


def test_http_1_a_re_post_with_its_key_goes_on_after_the_last_event(http: httpx2.Client) -> None:
    """HTTP: clients that POST again after a cut get the rest of the same generation."""
    headers = {"accept": "text/event-stream", "idempotency-key": uuid.uuid4().hex}
    first = http.post("/v1/generations", json=body(), headers=headers)
    seen = [s for s in frames(first.content) if s.id]
    again = http.post("/v1/generations", json=body(), headers={**headers, "last-event-id": seen[4].id or ""})
    assert again.headers["location"] == first.headers["location"]
    rest = [s for s in frames(again.content) if s.id]
    assert rest[0].position[1] - int(rest[0].event.get("merged") or 1) == 5
    assert rest[-1] == seen[-1]


def test_http_1_a_position_without_a_key_is_refused(http: httpx2.Client) -> None:
    """HTTP: nobody can tell which generation is meant."""
    headers = {"accept": "text/event-stream", "last-event-id": "1-1"}
    assert is_problem(http.post("/v1/generations", json=body(), headers=headers), 409, "resume_needs_key")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"modell": "x"}, "modell"),
        ({"temperature": 9}, "temperature"),
        ({"retention_s": 0}, "retention_s"),
        ({"deadline_s": 90000}, "deadline_s"),
        ({"delivery": {"batch": "letter"}}, "delivery.batch"),
        ({"max_output_tokens": "many"}, "max_output_tokens"),
    ],
)
def test_http_1_bad_input_names_the_field(http: httpx2.Client, change: dict[str, Any], field: str) -> None:
    """HTTP: 422, and the field at fault."""
    response = http.post("/v1/generations", json={**body(), **change})
    assert is_problem(response, 422, "invalid_request")
    assert field in response.text


def test_http_1_an_unknown_model_is_a_404(http: httpx2.Client) -> None:
    """HTTP: unknown_model."""
    response = http.post("/v1/generations", json={**body(), "model": "nobody/nothing"})
    assert is_problem(response, 404, "unknown_model")


def test_http_1_a_key_stands_for_one_generation(http: httpx2.Client) -> None:
    """HTTP: same key and same JSON value, the same generation; another value, a conflict."""
    key = {"idempotency-key": uuid.uuid4().hex}
    first = http.post("/v1/generations", json=body(), headers=key)
    turned = dict(reversed(list(body().items())))
    second = http.post("/v1/generations", json=turned, headers=key)
    other = http.post("/v1/generations", json=body(tokens=21), headers=key)
    assert second.json()["id"] == first.json()["id"]
    assert second.status_code == 202
    assert second.headers["idempotent-replayed"] == "true"
    assert is_problem(other, 409, "idempotency_conflict")


def test_http_2_the_record_holds_the_answer(http: httpx2.Client) -> None:
    """HTTP: output, usage and timing; the text is what the events say."""
    record = finished(http, options={"reasoning": 5, "tool_call": True})
    seen = events(http, record["id"])
    assert record["output"]["text"] == answer(seen) != ""
    assert record["output"]["reasoning"]
    assert record["output"]["tool_calls"][0]["complete"] is True
    assert record["usage"]["output_tokens"] > 0
    assert record["timing"]["duration_ms"] >= record["timing"]["ttft_ms"] >= record["timing"]["queue_ms"] >= 0
    assert record["created_at"] <= record["started_at"] <= record["first_token_at"] <= record["finished_at"]


def test_http_2_unknown_generations_are_not_found_everywhere(http: httpx2.Client) -> None:
    """HTTP: 404 on every route."""
    path = "/v1/generations/gen_" + "0" * 28
    assert is_problem(http.get(path), 404, "not_found")
    assert is_problem(http.get(f"{path}/events"), 404, "not_found")
    assert is_problem(http.post(f"{path}/cancel"), 404, "not_found")
    assert is_problem(http.delete(path), 404, "not_found")


def test_http_3_lists_are_newest_first_in_pages_that_fit(http: httpx2.Client) -> None:
    """HTTP: following next_cursor shows each generation once."""
    made = [submit(http, tokens=1)["id"] for _ in range(5)]
    found: list[str] = []
    cursor: str | None = None
    while not set(made) <= set(found):
        query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = http.get("/v1/generations", params=query).json()
        found += [record["id"] for record in page["data"]]
        cursor = page["next_cursor"]
        assert all(record["output"] is None for record in page["data"])
        if cursor is None:
            break
    assert [generation for generation in found if generation in made] == made[::-1]


def test_http_4_cancel_ends_it_and_a_second_cancel_is_200(http: httpx2.Client) -> None:
    """HTTP: idempotent; the text so far stays readable."""
    made = submit(http, tokens=5000, rate=100)
    first = http.post(f"/v1/generations/{made['id']}/cancel")
    second = http.post(f"/v1/generations/{made['id']}/cancel")
    assert first.status_code in (200, 202)
    assert (second.status_code, second.json()["status"]) == (200, "cancelled")
    assert events(http, made["id"])[-1].event["reason"] == "client"


def test_http_5_delete_erases_and_frees_the_key(http: httpx2.Client) -> None:
    """HTTP: 204, then 404; the same key makes a new generation."""
    key = uuid.uuid4().hex
    made = submit(http, {"idempotency-key": key}, tokens=5000, rate=100)
    assert http.delete(f"/v1/generations/{made['id']}").status_code == 204
    assert is_problem(http.get(f"/v1/generations/{made['id']}"), 404, "not_found")
    assert submit(http, {"idempotency-key": key}, tokens=5000, rate=100)["id"] != made["id"]


def test_ops_1_health_metrics_and_models(http: httpx2.Client) -> None:
    """OPS: what a load balancer, Prometheus and a client's model menu ask for."""
    finished(http)
    metrics = http.get("/metrics").text
    assert http.get("/livez").status_code == http.get("/readyz").status_code == 200
    for name in ("generations_total", "time_to_first_token_seconds", "output_tokens_total", "active_generations"):
        assert f"rejoinder_{name}" in metrics
    assert "demo/demo-1" in [model["id"] for model in http.get("/v1/models").json()["data"]]
