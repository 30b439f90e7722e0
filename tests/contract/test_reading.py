"""Contract section 4: positions, replay, formats, ends."""

from __future__ import annotations

import json

import httpx2
import pytest

from tests.contract.talk import events, finished, frames, submit
from tests.contract.test_generations import is_problem
from tests.support.history import Viewer, answer, check
from tests.support.whatwg import EventSourceParser

pytestmark = pytest.mark.contract


def test_read_1_the_log_is_dense_and_ends_once(http: httpx2.Client) -> None:
    """READ: exact replay gives every entry, in order, and one terminal event at its end."""
    record = finished(http)
    seen = events(http, record["id"], params={"replay": "exact"})
    assert check([Viewer("v", record["id"], seen, clean_ends=1)]) == []
    assert seen[-1].id == record["last_event_id"]


def test_read_1_merged_and_exact_say_the_same(http: httpx2.Client) -> None:
    """READ: merged joins neighbours and says how many entries it holds."""
    record = finished(http, tokens=60, options={"reasoning": 10})
    exact = events(http, record["id"], params={"replay": "exact"})
    merged = events(http, record["id"])
    assert answer(merged) == answer(exact)
    assert len(merged) < len(exact)
    assert sum(int(s.event.get("merged") or 1) for s in merged) == len(exact)


def test_read_2_every_position_resumes_with_exactly_the_rest(http: httpx2.Client) -> None:
    """READ: by header and by query; the header wins."""
    record = finished(http, tokens=8)
    path = f"/v1/generations/{record['id']}/events"
    whole = events(http, record["id"], params={"replay": "exact"})
    for at, seen in enumerate(whole[:-1]):
        query = {"replay": "exact", "last_event_id": seen.id or ""}
        assert events(http, record["id"], params=query) == whole[at + 1 :]
        header = {"last-event-id": seen.id or ""}
        assert events(http, record["id"], headers=header, params={"replay": "exact"}) == whole[at + 1 :]
        both = events(http, record["id"], headers=header, params={"replay": "exact", "last_event_id": "1-1"})
        assert both == whole[at + 1 :]
    last = http.get(path, headers={"last-event-id": whole[-1].id or ""})
    assert (last.status_code, last.content) == (204, b"")


@pytest.mark.parametrize("position", ["", "0-0"])
def test_pos_2_the_start_has_three_names(http: httpx2.Client, position: str) -> None:
    """POS: absent, empty and 0-0."""
    record = finished(http, tokens=3)
    whole = events(http, record["id"])
    assert events(http, record["id"], headers={"last-event-id": position}) == whole
    assert events(http, record["id"], params={"last_event_id": position}) == whole


@pytest.mark.parametrize("position", ["-1", "abc", "1-", "1-1-1", "1.5-2", "99999999999999999999-1", "١-١"])
def test_pos_3_anything_else_is_a_bad_event_id(http: httpx2.Client, position: str) -> None:
    """POS: malformed is 400, before anything is looked up."""
    record = finished(http, tokens=3)
    path = f"/v1/generations/{record['id']}/events"
    assert is_problem(http.get(path, params={"last_event_id": position}), 400, "bad_event_id")


@pytest.mark.parametrize("position", ["7-3", "9999999999999-2", "1-1"])
def test_read_4_a_position_of_another_log_resets(http: httpx2.Client, position: str) -> None:
    """READ: stream.reset, then the whole log."""
    record = finished(http, tokens=3)
    seen = events(http, record["id"], params={"last_event_id": position})
    assert seen[0].kind == "stream.reset"
    assert seen[0].id is None
    assert seen[1:] == events(http, record["id"])


def test_sse_1_frames_heads_and_hints(http: httpx2.Client) -> None:
    """SSE: id, event, data; retry inside the first frame; nothing may buffer."""
    record = finished(http)
    response = http.get(f"/v1/generations/{record['id']}/events")
    parser = EventSourceParser()
    got = parser.feed(response.content)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache, no-transform"
    assert response.headers["x-accel-buffering"] == "no"
    assert "content-encoding" not in response.headers
    assert parser.retry_ms is not None
    assert 500 <= parser.retry_ms <= 1500
    assert parser.empty_blocks == 0
    assert all(event.type == json.loads(event.data)["type"] for event in got)


def test_read_6_ndjson_and_text_tell_the_same(http: httpx2.Client) -> None:
    """READ: one object a line; the bare text."""
    record = finished(http, tokens=30)
    path = f"/v1/generations/{record['id']}/events"
    for lines in (
        http.get(path, params={"format": "ndjson"}),
        http.get(path, headers={"accept": "application/x-ndjson"}),
    ):
        rows = [json.loads(line) for line in lines.text.splitlines()]
        assert [row["id"] for row in rows] == [seen.id for seen in events(http, record["id"])]
    assert http.get(path, params={"format": "text"}).text == record["output"]["text"]
    assert http.get(path, headers={"accept": "text/plain"}).text == record["output"]["text"]


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/event-stream", "text/html, */*;q=0.1"])
def test_read_6_sse_is_what_everybody_gets(http: httpx2.Client, accept: str) -> None:
    """READ: SDKs that ask for JSON want the stream, too."""
    record = finished(http, tokens=2)
    response = http.get(f"/v1/generations/{record['id']}/events", headers={"accept": accept})
    assert response.headers["content-type"].startswith("text/event-stream")


def test_evt_1_a_live_reader_is_told_when_it_is_live(http: httpx2.Client) -> None:
    """EVT: stream.live comes once, without an id; an ended log has none."""
    # Long enough to be running however late the reader comes; it is ended when that has been seen.
    made = submit(http, tokens=5000, rate=100)
    path = f"/v1/generations/{made['id']}"
    raw = b""
    with http.stream("GET", f"{path}/events") as answer:
        for piece in answer.iter_bytes():
            if b"stream.live" in raw + piece and b"stream.live" not in raw:
                assert http.post(f"{path}/cancel").status_code in (200, 202)
            raw += piece
    live = frames(raw)
    assert live[-1].kind == "generation.cancelled"
    assert [s.id for s in live if s.kind == "stream.live"] == [None]
    assert not [s for s in events(http, made["id"]) if s.kind == "stream.live"]


def test_evt_9_failures_keep_their_code_and_text(http: httpx2.Client) -> None:
    """EVT: generation.failed is terminal and says why."""
    record = finished(http, options={"fail_at": 4, "fail_code": "provider_overloaded"})
    end = events(http, record["id"])[-1]
    assert (end.kind, end.event["error"]["code"]) == ("generation.failed", "provider_overloaded")
    assert record["error"]["code"] == "provider_overloaded"
    assert record["output"]["text"]
