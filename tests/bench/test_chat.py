"""The pieces of the measure of chat completions."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import msgspec
import pytest

from bench.chat import Cost, cost, rows_of
from bench.chat_replay import body_of, check
from bench.chat_ways import EACH, ChatWay
from bench.fake_answers import HEAD, Ask, Count, stamped
from bench.highlights import CHAT_SYSTEMS, chat
from bench.load_generator import encode_requests
from bench.measure import Row
from bench.peers.install import PINNED
from bench.peers.litellm import config, environment, tree
from bench.report import merged
from bench.ttft import NotWhole

ASK = Ask("1", 4, 100.0, held=True, stamped=True)


def cost_of(name: str, p50: float, **cpu_us: float) -> Cost:
    """One way, of 10 tokens in a millisecond."""
    report: dict[str, Any] = {"latency": {"p50": p50, "p99": 2 * p50}, "tokens": 10, "frames": 5, "wall_ns": 1_000_000}
    return Cost(name, report, cpu_us, Count())


def test_what_is_added_is_the_difference_to_the_same_round() -> None:
    """And CPU is shared out to the tokens, each process by itself and all together."""
    ours = cost_of("ours", 3e6, node=100.0, worker=200.0, redis=50.0)
    rows = {(row.metric, row.system): row.value for row in rows_of([cost_of("direct", 1e6), ours])}
    assert rows["chat.added_p50_ms", "ours"] == 2.0
    assert rows["chat.added_p99_ms", "ours"] == 4.0
    parts = [rows[f"chat.{name}_us", "ours"] for name in ("node", "worker", "redis", "token")]
    assert parts == [10.0, 20.0, 5.0, 35.0]
    # Redis has the other core.
    assert rows["chat.core_share", "ours"] == pytest.approx(0.3)
    assert rows["chat.chunks_per_token", "ours"] == 0.5
    assert ("chat.token_us", "direct") not in rows


def test_all_processes_of_a_peer_count() -> None:
    """Whatever it starts."""
    proxy = cost_of("litellm", 2e6, **{"litellm 0": 900.0, "litellm 1": 30.0})
    rows = {(row.metric, row.system): row for row in rows_of([cost_of("direct", 1e6), proxy])}
    assert rows["chat.token_us", "litellm"].value == 93.0
    assert rows["chat.p50_ms", "litellm"].note == "it had 93% of its core"


def test_the_load_generator_asks_as_an_sdk_would() -> None:
    """A POST with its length; our own words only where they are wanted."""
    way = ChatWay("x", 1, "/v1/chat/completions", "bench/m", {"Authorization": "Bearer k"}, EACH)
    sent = encode_requests([way.viewer(ASK)], ids=False)
    head, _, body = sent.partition(b"\n")[2].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    asked = json.loads(body)
    assert (asked["model"], asked["stream"], asked["rejoinder"]) == ("bench/m", True, EACH["rejoinder"])
    assert msgspec.json.decode(asked["messages"][0]["content"], type=Ask) == ASK


def read_again(*numbers: int, end: bytes = b"data: [DONE]\n\n") -> bytes:
    """A body of these tokens."""
    return body_of(HEAD + b"".join(stamped(number, 5) for number in numbers) + b"0\r\n\r\n") + end


def test_what_is_read_again_must_be_whole() -> None:
    """Each token once, in order, and the end."""
    check(read_again(1, 2, 3), 3)
    for wrong in (read_again(1, 3), read_again(1, 2, 2, 3), read_again(2, 1, 3), read_again(1, 2, 3, end=b"")):
        with pytest.raises(NotWhole):
            check(wrong, 3)


def test_of_responses_only_deltas_are_text() -> None:
    """Their ends say all of it again."""

    def event(kind: str, **fields: str) -> bytes:
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **fields}).encode())

    delta, done = event("response.output_text.delta", delta="#1@5@ word"), event("x.done", text="#1@5@ word")
    check(delta + done + event("response.completed"), 1)


def test_the_proxy_is_pinned_and_needs_nothing_from_elsewhere() -> None:
    """One model at the given address; no prices are fetched; it is one process tree."""
    (model,) = json.loads(config("http://here/v1"))["model_list"]
    assert model["litellm_params"]["api_base"] == "http://here/v1"
    assert environment("k")["LITELLM_LOCAL_MODEL_COST_MAP"] == "True"
    lines = PINNED.read_text().splitlines()
    assert all("==" in line and "://" not in line for line in lines)
    assert tree(1)[0] == 1


def test_a_part_of_the_table_can_be_measured_anew() -> None:
    """Its metrics are replaced, whoever's they are; the rest stays, and what was said of the machine."""
    old: dict[str, Any] = {"metric": "chat.p50_ms", "system": "gone", "value": 1.0, "note": "", "raw": {}}
    kept: dict[str, Any] = {**old, "metric": "idle.kb", "value": 2.0}
    rows, about = merged([Row("chat.p50_ms", "ours", 3.0)], {"rounds": [old, kept], "machine": {"cpu": "x"}})
    assert [(row.metric, row.system, row.value) for row in rows] == [
        ("idle.kb", "gone", 2.0),
        ("chat.p50_ms", "ours", 3.0),
    ]
    assert about == {"cpu": "x"}


def test_the_short_table_has_a_column_for_each_way() -> None:
    """What was not measured is empty."""
    summary = [{"metric": "chat.token_us", "system": "ours", "median": 120.0}]
    assert chat({"summary": summary}) == [["CPU per token, all processes, µs", "", "120", "", ""]]
    assert len(CHAT_SYSTEMS) == 4


async def test_a_run_that_brings_other_tokens_is_void(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where each reader is content."""
    load, provider = AsyncMock(), AsyncMock()
    sound = {"sound": True, "tokens": 2, "wall_ns": 1}
    load.until.return_value = load.result.return_value = sound
    provider.count.return_value = Count(asked=1)
    held = MagicMock(return_value=MagicMock(__aenter__=AsyncMock(return_value=load)))
    monkeypatch.setattr("bench.chat.hold", held)
    with pytest.raises(NotWhole, match="2 tokens"):
        await cost(ChatWay("x", 1, "/", "m"), provider, 1, 4, 100.0)
    load.result.return_value = {"sound": True, "tokens": 3, "wall_ns": 1}
    assert (await cost(ChatWay("x", 1, "/", "m"), provider, 1, 4, 100.0)).report["tokens"] == 3
