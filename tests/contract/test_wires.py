"""Other vendors' wires from the outside: asked in their dialect, cut behind every frame, taken up anywhere (WIRE-*)."""

from __future__ import annotations

import itertools
import json
from typing import Any

import httpx2
import pytest

from tests.contract.talk import finished
from tests.support.whatwg import EventSourceParser

pytestmark = pytest.mark.contract

ASK: dict[str, tuple[str, dict[str, Any]]] = {
    "openai.chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
    "openai.responses": ("/v1/responses", {"input": "x"}),
    "anthropic": ("/v1/messages", {"max_tokens": 50, "messages": [{"role": "user", "content": "x"}]}),
}
FORMATS = (*ASK, "ai-sdk")
dialects = pytest.mark.parametrize("dialect", list(ASK))
formats = pytest.mark.parametrize("fmt", FORMATS)


def told(raw: bytes) -> list[tuple[str, str]]:
    """Id and data of each frame."""
    return [(event.last_event_id, event.data) for event in EventSourceParser().feed(raw)]


def words(fmt: str, frames: list[tuple[str, str]]) -> str:
    """The text that a client of this format puts together."""
    text = ""
    for _, data in frames:
        value: dict[str, Any] = {} if data == "[DONE]" else json.loads(data)
        if fmt == "openai.chat":
            text += "".join(choice["delta"].get("content") or "" for choice in value.get("choices", ()))
        elif value.get("type") in ("response.output_text.delta", "text-delta"):
            text += value["delta"]
        elif value.get("type") == "content_block_delta":
            text += value["delta"].get("text", "")
    return text


@dialects
def test_an_answer_is_the_same_streamed_and_looked_at(http: httpx2.Client, dialect: str) -> None:
    """WIRE-7, WIRE-10: every frame has an id, the headers name the generation, and its record has the same text."""
    path, body = ASK[dialect]
    answer = http.post(path, json={"model": "demo/demo-1", "stream": True, **body})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
    frames = told(answer.content)
    assert all(one for one, _ in frames)
    record = http.get(f"/v1/generations/{answer.headers['x-generation-id']}").json()
    assert words(dialect, frames) == record["output"]["text"] != ""
    assert frames[-1][0] == record["last_event_id"]


@formats
def test_a_cut_behind_any_frame_is_taken_up(http: httpx2.Client, fmt: str) -> None:
    """WIRE-1 and WIRE-2: what follows an id is the rest, frame for frame, whichever node answers."""
    made = finished(http, tokens=6, options={"reasoning": 2})
    assert (made["status"], made["output"]["text"] != "") == ("completed", True)
    url = f"/v1/generations/{made['id']}/events"
    exact = {"format": fmt, "replay": "exact"}
    whole = told(http.get(url, params=exact).content)
    assert words(fmt, whole) == made["output"]["text"]
    assert any("." in one for one, _ in whole)
    for at in range(len(whole) - 1):
        rest = http.get(url, params=exact, headers={"last-event-id": whole[at][0]})
        assert told(rest.content) == whole[at + 1 :]
        merged = told(http.get(url, params={"format": fmt}, headers={"last-event-id": whole[at][0]}).content)
        assert words(fmt, [*whole[: at + 1], *merged]) == made["output"]["text"]
    assert http.get(url, params=exact, headers={"last-event-id": whole[-1][0]}).status_code == 204


def test_a_response_lives_on(http: httpx2.Client) -> None:
    """WIRE-12 and WIRE-13: look, stream from a number, go on, cancel, delete."""
    made = http.post("/v1/responses", json={"model": "demo/demo-1", "input": "x", "background": True}).json()
    assert (made["status"], made["background"]) in (("queued", True), ("in_progress", True))
    url = f"/v1/responses/{made['id']}"
    events = [json.loads(data) for _, data in told(http.get(url, params={"stream": "true"}).content)]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    later = [
        json.loads(data) for _, data in told(http.get(url, params={"stream": "true", "starting_after": 7}).content)
    ]
    assert later == events[8:]
    assert http.get(url).json() == events[-1]["response"]
    again = http.post("/v1/responses", json={"model": "demo/demo-1", "input": "y", "previous_response_id": made["id"]})
    assert again.json()["status"] == "completed"
    slow = {"model": "demo/demo-1", "input": "z", "background": True}
    running = http.post("/v1/responses", json=slow).json()
    stopped = http.post(f"/v1/responses/{running['id']}/cancel").json()
    assert stopped["status"] in ("cancelled", "completed")
    assert http.delete(url).json() == {"id": made["id"], "object": "response", "deleted": True}
    gone = http.get(url)
    assert (gone.status_code, gone.json()["error"]["type"]) == (404, "invalid_request_error")


def test_use_chat_comes_back(http: httpx2.Client) -> None:
    """WIRE-14: with any content type; replayed whole until somebody has been given the end; then 204."""
    message = {"id": "m", "role": "user", "parts": [{"type": "text", "text": "x"}]}
    # So long that nobody has been given its end when the first reader goes, however late that is.
    slow = {"provider_options": {"tokens": 5000, "rate": 100}}
    body = {"id": "c-1", "model": "demo/demo-1", "messages": [message], "trigger": "submit-message", **slow}
    plain = {"content-type": "text/plain;charset=UTF-8"}
    with http.stream("POST", "/v1/ui/chat", content=json.dumps(body), headers=plain) as answer:
        run = answer.headers["x-workflow-run-id"]
        assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
        deltas = (line for line in answer.iter_lines() if "text-delta" in line)
        assert len(list(itertools.islice(deltas, 3))) == 3
    http.post(f"/v1/generations/{run}/cancel")
    record = http.get(f"/v1/generations/{run}", params={"wait": 15}).json()
    whole = told(http.get("/v1/ui/chat/c-1/stream").content)
    assert words("ai-sdk", whole) == record["output"]["text"]
    assert http.get("/v1/ui/chat/c-1/stream").status_code == 204
    rest = told(http.get(f"/v1/ui/chat/{run}/stream", params={"startIndex": 5}).content)
    assert rest == whole[5:]
    assert http.post("/v1/ui/chat/c-1/stop", json={}).json() == {"success": True}


@dialects
def test_refusals_are_the_vendors(http: httpx2.Client, dialect: str) -> None:
    """WIRE-8 and WIRE-15: the field is named; the SDK is told not to try again."""
    path, body = ASK[dialect]
    for extra, status in (({"no_such_field": 1}, 400), ({"model": "nobody/x"}, 404)):
        answer = http.post(path, json={"model": "demo/demo-1", **body, **extra})
        assert (answer.status_code, answer.headers["x-should-retry"]) == (status, "false")
        name = next(iter(extra))
        assert (name if name != "model" else "nobody/x") in answer.json()["error"]["message"]
