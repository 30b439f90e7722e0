"""The endpoints in other vendors' dialects: what they answer, beside what the formats and dialects are tested for."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from broker.errors import LogUnavailable
from broker.events import Cancelled, Completed, Failed, Started, TextDelta
from broker.values import ErrorInfo, Usage
from tests.api.conftest import MakeClient, StartNode
from tests.api.fake_door import EPOCH, FakeDoor
from tests.api.raw import RawClient
from tests.support.waiting import wait_until

STARTED = Started(1, "restart", "demo", "demo-1")
WHOLE = [STARTED, TextDelta(0, "Hel"), TextDelta(0, "lo"), Completed("stop", usage=Usage(3, 2))]
CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
ASK: dict[str, dict[str, Any]] = {
    CHAT: {"model": "demo/demo-1", "messages": [{"role": "user", "content": "x"}]},
    RESPONSES: {"model": "demo/demo-1", "input": "x"},
    MESSAGES: {"model": "demo/demo-1", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]},
}
HINT: dict[str, dict[str, Any]] = {
    CHAT: {"seed": 7, "stream_options": {"include_obfuscation": False}},
    RESPONSES: {"prompt_cache_key": "k"},
    MESSAGES: {"service_tier": "standard_only"},
}
IGNORED = {CHAT: "seed", RESPONSES: "prompt_cache_key", MESSAGES: "service_tier"}
MATTERS: dict[str, dict[str, Any]] = {
    CHAT: {"logit_bias": {"50256": -100}},
    RESPONSES: {"presence_penalty": 1},
    MESSAGES: {"top_k": 5},
}
"""What another vendor's model can't be told, and what would change the answer."""
every = pytest.mark.parametrize("path", list(ASK))


def text_of(path: str, body: dict[str, Any]) -> str:
    """The answer's text, where each vendor has it."""
    if path == CHAT:
        return body["choices"][0]["message"]["content"]
    items = body["output"] if path == RESPONSES else body["content"]
    return items[0]["content"][0]["text"] if path == RESPONSES else items[0]["text"]


def error_of(path: str, answer: httpx2.Response) -> str:
    """The error's message, in the vendor's shape."""
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == (["type", "error"] if path == MESSAGES else ["error"])
    assert {"message", "type"} <= body["error"].keys()
    return body["error"]["message"]


@every
async def test_a_whole_answer(client: httpx2.AsyncClient, door: FakeDoor, path: str) -> None:
    """JSON, once it has ended, with the generation's name in the headers."""
    door.says = WHOLE
    answer = await client.post(path, json=ASK[path])
    (generation,) = door.logs
    assert (answer.status_code, text_of(path, answer.json())) == (200, "Hello")
    assert {answer.headers[name] for name in ("x-generation-id", "x-request-id", "request-id")} == {generation}
    assert generation.removeprefix("gen_") in answer.json()["id"]


@every
async def test_a_streamed_answer(client: httpx2.AsyncClient, door: FakeDoor, path: str) -> None:
    """SSE whatever Accept says (R7), each frame with an id (R4)."""
    door.says = WHOLE
    answer = await client.post(path, json={**ASK[path], "stream": True}, headers={"accept": "application/json"})
    assert answer.headers["content-type"] == "text/event-stream"
    frames = answer.text.removesuffix("\n\n").split("\n\n")
    assert all(f"id: {EPOCH}-" in frame and "data: " in frame for frame in frames)
    assert frames[0].startswith("retry: ")
    assert answer.headers["x-generation-id"] in door.logs


@every
async def test_a_cut_post_goes_on_with_its_key(start_node: StartNode, door: FakeDoor, path: str) -> None:
    """At any frame, of any entry; without the key that would be a second answer."""
    door.says = [STARTED, TextDelta(0, "Hello"), Completed("stop", usage=Usage(3, 2))]
    node = await start_node()
    body = json.dumps({**ASK[path], "stream": True})

    async def post(headers: str) -> tuple[int, str]:
        async with RawClient(node.port) as raw:
            lines = f"Host: localhost\r\nConnection: close\r\nContent-Length: {len(body)}\r\n{headers}"
            raw.send(f"POST {path} HTTP/1.1\r\n{lines}\r\n{body}".encode())
            status = await raw.read_head()
            await raw.read_all()
            return status, raw.body.decode()

    _, whole = await post("Idempotency-Key: k\r\n")
    frames = whole.partition("\n")[2].removesuffix("\n\n").split("\n\n")
    for at, frame in enumerate(frames[:-1], 1):
        position = frame.partition("id: ")[2].partition("\n")[0]
        _, rest = await post(f"Idempotency-Key: k\r\nLast-Event-ID: {position}\r\n")
        assert rest.partition("\n")[2].removesuffix("\n\n").split("\n\n") == frames[at:]
    assert len(door.logs) == 1
    status, refused = await post(f"Last-Event-ID: {EPOCH}-2\r\n")
    assert (status, "Idempotency-Key" in refused) == (409, True)


@every
@pytest.mark.parametrize(
    ("code", "retryable", "status"),
    [
        ("provider_rejected", False, 400),
        ("provider_rate_limited", True, 429),
        ("provider_timeout", True, 504),
        ("provider_overloaded", True, 503),
        ("provider_auth", False, 502),
    ],
)
async def test_a_failed_answer_is_an_error(
    client: httpx2.AsyncClient, door: FakeDoor, path: str, code: str, retryable: bool, status: int
) -> None:
    """Of a plain request, and names its generation. SDKs are told whether a retry may help."""
    door.says = [STARTED, TextDelta(0, "Hel"), Failed(ErrorInfo(code, "it broke", retryable))]
    answer = await client.post(path, json=ASK[path])
    assert (answer.status_code, error_of(path, answer)) == (status, "it broke")
    assert answer.headers["x-should-retry"] == str(retryable).lower()
    assert answer.headers["x-request-id"] == answer.headers["x-generation-id"] == next(iter(door.logs))
    if path == RESPONSES:
        looked_at = await client.get(f"{path}/{answer.headers['x-generation-id'].replace('gen_', 'resp_')}")
        assert (looked_at.status_code, looked_at.json()["status"]) == (200, "failed")
        assert looked_at.json()["error"]["message"] == "it broke"


@every
async def test_a_cancelled_answer_is_not_taken_for_whole(client: httpx2.AsyncClient, door: FakeDoor, path: str) -> None:
    """Nor tried again by the SDK."""
    door.says = [STARTED, TextDelta(0, "Hel"), Cancelled("client")]
    answer = await client.post(path, json=ASK[path])
    assert (answer.status_code, answer.headers["x-should-retry"]) == (409, "false")
    assert "cancelled" in error_of(path, answer)


@every
@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 400, "not valid JSON"),
        (b"[]", 400, "not a JSON object"),
        (b"{}", 400, "model"),
        (b'{"model":"nobody/x"}', 404, "nobody/x"),
        (b'{"model":7}', 400, "model"),
    ],
)
async def test_bad_input_is_refused_in_the_vendors_shape(
    client: httpx2.AsyncClient, door: FakeDoor, path: str, body: bytes, status: int, says: str
) -> None:
    """And makes nothing."""
    answer = await client.post(path, content=body, headers={"content-type": "text/plain"})
    assert (answer.status_code, says in error_of(path, answer)) == (status, True)
    assert door.logs == {}


@every
async def test_other_errors_have_the_vendors_shape(make_client: MakeClient, door: FakeDoor, path: str) -> None:
    """Key, method, size, Redis away."""
    async with make_client(api_keys={"a": "k"}, max_body_bytes=1024) as client:
        assert "API key" in error_of(path, await client.post(path, json=ASK[path]))
        key = {"x-api-key": "k"}
        wrong = await client.request("PATCH", path, headers=key)
        assert (wrong.status_code, bool(error_of(path, wrong))) == (405, True)
        large = await client.post(path, content=b" " * 2000, headers=key)
        assert (large.status_code, bool(error_of(path, large))) == (413, True)
        door.surprise = LogUnavailable()
        away = await client.post(path, json=ASK[path], headers=key)
        assert (away.status_code, away.headers["x-should-retry"]) == (503, "true")
        assert int(away.headers["retry-after"]) > 0


@every
async def test_hints_are_listed_and_what_matters_is_refused(
    client: httpx2.AsyncClient, door: FakeDoor, path: str
) -> None:
    """``X-Rejoinder-Ignored``, or a 400 that names the field."""
    door.says = WHOLE
    answer = await client.post(path, json={**ASK[path], "no_such_field": 1})
    assert answer.status_code == 400
    assert "no_such_field" in error_of(path, answer)
    foreign = {"model": "openai/gpt-5" if path == MESSAGES else "anthropic/claude-opus-4-6"}
    made = await client.post(path, json={**ASK[path], **foreign, **HINT[path]})
    assert made.status_code == 200
    assert made.headers["x-rejoinder-ignored"] == IGNORED[path]
    matters = await client.post(path, json={**ASK[path], **foreign, **MATTERS[path]})
    assert (matters.status_code, next(iter(MATTERS[path])) in error_of(path, matters)) == (400, True)


@every
async def test_an_sdk_says_how_often_it_has_tried(client: httpx2.AsyncClient, door: FakeDoor, path: str) -> None:
    """And nobody else; with a key that decides alone."""
    door.says = WHOLE
    for tries in ("0", "2", "x", "-1"):
        await client.post(path, json=ASK[path], headers={"x-stainless-retry-count": tries})
    await client.post(path, json=ASK[path])
    assert door.retries == [0, 2, None, None, None]


@every
async def test_whoever_leaves_cancels_nothing(start_node: StartNode, door: FakeDoor, path: str) -> None:
    """A plain request's client goes away: the generation goes on."""
    node = await start_node()
    body = json.dumps(ASK[path])
    async with RawClient(node.port) as raw:
        raw.send(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        await wait_until(lambda: bool(door.waiting))
    await wait_until(lambda: not door.waiting)
    (log,) = door.logs.values()
    assert not log.ended


async def test_what_is_not_to_be_stored_is_not_stored_at_openai(client: httpx2.AsyncClient, door: FakeDoor) -> None:
    """Its answers in the background are, also where settings make them so. With others only our own log is meant."""
    ask = {"input": "x", "background": True, "store": False}
    refused = await client.post(RESPONSES, json={"model": "openai/gpt-5", **ask})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "store")
    assert door.logs == {}
    assert (await client.post(RESPONSES, json={"model": "demo/demo-1", **ask})).status_code == 200
    door.says = WHOLE
    await client.post(RESPONSES, json={"model": "openai/gpt-5", "input": "x", "store": False})
    assert door.requests[-1].provider_options == {"background": False}
