"""Small words for talking to the service under test."""

from __future__ import annotations

import json
from typing import Any

import httpx2

from tests.support.history import Seen
from tests.support.whatwg import EventSourceParser

TERMINAL = ("generation.completed", "generation.failed", "generation.cancelled")


def body(tokens: int = 20, rate: float = 500, **fields: Any) -> dict[str, Any]:
    """A demo request."""
    options = {"tokens": tokens, "rate": rate, **fields.pop("options", {})}
    return {"model": "demo/demo-1", "input": "Tell me.", "provider_options": options, **fields}


def submit(http: httpx2.Client, headers: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    """Submit and return the record."""
    answer = http.post("/v1/generations", json=body(**fields), headers=headers or {})
    assert answer.status_code == 202, answer.text
    return answer.json()


def finished(http: httpx2.Client, **fields: Any) -> dict[str, Any]:
    """Submit, wait for the end, return the record."""
    made = submit(http, **fields)
    record = http.get(f"/v1/generations/{made['id']}", params={"wait": 15}).json()
    assert record["status"] in ("completed", "failed", "cancelled"), record
    return record


def frames(raw: bytes) -> list[Seen]:
    """The events of an SSE body; those that are only on the wire have no id."""
    found: list[Seen] = []
    for event in EventSourceParser().feed(raw):
        wire_only = event.type.startswith("stream.")
        found.append(Seen(None if wire_only else event.last_event_id, json.loads(event.data)))
    return found


def events(http: httpx2.Client, generation: str, **request: Any) -> list[Seen]:
    """A whole SSE replay."""
    answer = http.get(f"/v1/generations/{generation}/events", **request)
    assert answer.status_code == 200, answer.text
    return frames(answer.content)
