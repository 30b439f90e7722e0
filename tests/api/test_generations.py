"""Submit: what is accepted, and what is refused by name."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from api.body import field_path
from tests.api.fake_door import FakeDoor

PATH = "/v1/generations"
GOOD: dict[str, Any] = {"model": "demo/demo-1", "input": "hello"}
RAW = {"content-type": "application/json"}


async def test_a_submit_is_accepted_with_its_record(client: httpx2.AsyncClient, door: FakeDoor) -> None:
    """202, where it is, and the record."""
    answer = await client.post(PATH, json={**GOOD, "metadata": {"a": "b"}, "temperature": 1})
    record = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"{PATH}/{record['id']}" == record["links"]["self"]
    assert answer.headers["x-generation-id"] == record["id"]
    assert (record["object"], record["status"], record["model"]) == ("generation", "queued", "demo/demo-1")
    assert "idempotent-replayed" not in answer.headers
    assert (door.requests[0].input, door.requests[0].metadata) == ("hello", {"a": "b"})


async def test_the_same_key_and_value_are_the_same_generation(client: httpx2.AsyncClient, door: FakeDoor) -> None:
    """Whatever the spelling of the JSON; another value under the key is a conflict."""
    key = {"idempotency-key": "k" * 255, **RAW}
    first = await client.post(PATH, content=b'{"model":"demo/demo-1","input":"x"}', headers=key)
    again = await client.post(PATH, content=b' {"input": "\\u0078", "model": "demo/demo-1"} ', headers=key)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
    assert again.json()["id"] == first.json()["id"]
    other = await client.post(PATH, content=b'{"model":"demo/demo-1","input":"y"}', headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    assert len(door.requests) == 1


@pytest.mark.parametrize("key", ["", "k" * 256, "a b", "ü", "a\tb"])
async def test_a_key_is_1_to_255_visible_characters(client: httpx2.AsyncClient, door: FakeDoor, key: str) -> None:
    """Anything else is refused by name."""
    answer = await client.post(PATH, json=GOOD, headers=[(b"idempotency-key", key.encode())])
    assert (answer.status_code, answer.json()["field"]) == (422, "Idempotency-Key")
    assert door.requests == []


MALFORMED = [
    *(b"", b"{", b"\xff", b'{"model": "a', b'{"model":"a\xff"}', b'{"input":"\\ud83e"}', b"nul", b"\x00"),
    *(b'{"temperature":NaN}', b'{"temperature":1e999}', b'{"provider_options":{"a":Infinity}}'),
    *(b'{"provider_options":{"a":-1e400}}', b"[" * 100_000, b'{"a":' * 100_000, b'{"a":1,}', b"\xef\xbb\xbf{}"),
    b'{"model":"demo/demo-1","input":"x","provider_options":{"a":' + b"9" * 10_000 + b"}}",
    b'{"model":"demo/demo-1","input":"x","provider_options":' + b'{"a":' * 300 + b"1" + b"}" * 301,
    '{"model":"demo/demo-1","input":"x"}'.encode("utf-16"),
]


@pytest.mark.parametrize("raw", MALFORMED, ids=range(len(MALFORMED)))
async def test_what_is_not_json_is_a_400(client: httpx2.AsyncClient, door: FakeDoor, raw: bytes) -> None:
    """Bad UTF-8, lone surrogates, numbers without end and nesting without end included."""
    answer = await client.post(PATH, content=raw, headers=RAW)
    assert answer.status_code == 400
    assert answer.json()["code"] == "invalid_request"
    assert door.requests == []


FAULTS: list[tuple[dict[str, Any], list[str]]] = [
    ({"model": ""}, ["model"]),
    ({"model": None}, ["model"]),
    ({"temprature": 1}, ["temprature"]),
    ({"temperature": "1"}, ["temperature"]),
    ({"temperature": 3}, ["temperature"]),
    ({"max_output_tokens": 0}, ["max_output_tokens"]),
    ({"max_output_tokens": True}, ["max_output_tokens"]),
    ({"max_output_tokens": 10**30}, ["max_output_tokens"]),
    ({"messages": [{"role": "user", "content": "x"}]}, [""]),
    ({"input": None, "messages": []}, ["messages"]),
    ({"input": None, "messages": [{"role": "nobody", "content": "x"}]}, ["messages.0.role"]),
    (
        {"input": None, "messages": [{"role": "user", "content": [{"type": "text"}]}]},
        ["messages.0.content.0.text"],
    ),
    ({"delivery": {"batch": "page"}}, ["delivery.batch"]),
    ({"retention_s": 0}, ["retention_s"]),
    ({"deadline_s": 0}, ["deadline_s"]),
    ({"deadline_s": 86401}, ["deadline_s"]),
    ({"on_disconnect": {"cancel_after_s": 0}}, ["on_disconnect.cancel_after_s"]),
    ({"metadata": {"k": 1}}, ["metadata.k"]),
    ({"tools": [{"type": "function", "function": {}}]}, ["tools.0.function.name"]),
]


@pytest.mark.parametrize(("change", "fields"), FAULTS)
async def test_what_can_not_be_meant_names_its_field(
    client: httpx2.AsyncClient, change: dict[str, Any], fields: list[str]
) -> None:
    """422 with each field at fault and why."""
    answer = await client.post(PATH, json={**GOOD, **change})
    body = answer.json()
    assert (answer.status_code, body["code"]) == (422, "invalid_request")
    assert [error["field"] for error in body["errors"]] == fields
    assert all(error["message"] for error in body["errors"])
    assert body.get("field", "") == fields[0]


@pytest.mark.parametrize("value", [[], "x", 1, True])
async def test_a_body_must_be_an_object(client: httpx2.AsyncClient, value: object) -> None:
    """JSON alone is not enough."""
    assert (await client.post(PATH, json=value)).status_code == 422


def test_a_field_path_leaves_out_what_is_not_in_the_request() -> None:
    """Pydantic names the arms of unions that it tried."""
    value = {"a": [{"type": "text", "text": 5}]}
    assert field_path(("a", "list[tagged-union]", 0, "text", "text"), value) == "a.0.text"
    assert field_path(("a", 0, "missing"), value, missing=True) == "a.0.missing"
    assert field_path(("a", 0, "literal['x']"), value) == "a.0"
    assert field_path(("a", 7, "x"), value) == "a.7"
    assert field_path((), value) == ""


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 202),
        ("application/json; charset=utf-8", 202),
        ("APPLICATION/vnd.api+json", 202),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("image/svg+json", 415),
    ],
)
async def test_the_body_must_say_json(client: httpx2.AsyncClient, content_type: str, status: int) -> None:
    """A form or a text would be sent by any page without asking; nothing said means JSON."""
    raw = b'{"model":"demo/demo-1","input":"x"}'
    assert (await client.post(PATH, content=raw, headers={"content-type": content_type})).status_code == status
    assert (await client.post(PATH, content=raw)).status_code == 202


UNTOLD: list[tuple[str, dict[str, Any], str]] = [
    ("openai-responses/m", {"stop": ["END"]}, "stop"),
    ("anthropic/m", {"response_format": {"type": "json_object"}}, "response_format"),
    ("openai/m", {"provider_options": {"n": 2}}, "provider_options.n"),
]


@pytest.mark.parametrize(("model", "fields", "field"), UNTOLD)
async def test_what_the_provider_has_no_word_for_is_named(
    client: httpx2.AsyncClient, door: FakeDoor, model: str, fields: dict[str, Any], field: str
) -> None:
    """At the door: a generation that could only fail is not begun."""
    answer = await client.post(PATH, json={**GOOD, "model": model, **fields})
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "invalid_request", field)
    assert door.requests == []


@pytest.mark.parametrize("model", ["nobody/x", "demo/none", "x\u0000", "demo/", "/"])
async def test_an_unknown_model_is_a_404(client: httpx2.AsyncClient, door: FakeDoor, model: str) -> None:
    """Nothing is queued for it."""
    answer = await client.post(PATH, json={**GOOD, "model": model})
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (404, "unknown_model", "model")
    assert door.requests == []


async def test_passing_trouble_is_a_503_with_a_time(client: httpx2.AsyncClient, door: FakeDoor) -> None:
    """A full queue, and Redis away, on every route that asks it."""
    door.queue_full = True
    full = await client.post(PATH, json=GOOD)
    assert (full.status_code, full.json()["code"], full.headers["retry-after"]) == (503, "queue_full", "5")
    door.away = True
    for answer in (
        await client.post(PATH, json=GOOD),
        await client.get(PATH),
        await client.get(f"{PATH}/gen_x"),
        await client.get(f"{PATH}/gen_x?wait=1"),
        await client.post(f"{PATH}/gen_x/cancel"),
        await client.delete(f"{PATH}/gen_x"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, "log_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
