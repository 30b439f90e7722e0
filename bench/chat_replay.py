"""What it costs to read a finished answer again in OpenAI's words, from a node that has and has not read it before."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

import httpx2

from bench.chat_ways import EACH, ChatWay
from bench.fake_answers import Ask
from bench.measure import Row
from bench.ttft import NotWhole
from rejoinder.ports import LOOPBACK

TOKENS = 10_000
LOGS = 3
ENDED_S = 30
READ_S = 30.0
FORMATS = {"openai.chat": "chat.replay", "openai.responses": "chat.responses_replay"}
"""With merged deltas, as is its default, and event by event, which is all it can do; each with its metric."""
_PIECE = 262_144
_MARK = re.compile(r"#(\d+)@\d+@ word")


async def finished(way: ChatWay, http: httpx2.AsyncClient, tokens: int) -> str:
    """An answer of so many tokens, each an entry of its own, which the node has not read. Raises ``NotWhole``."""
    ask = Ask("replay", tokens, stamped=True)
    url = f"http://{LOOPBACK}:{way.port}/v1/generations"
    body: dict[str, Any] = {"model": way.model, "input": ask.prompt(), **EACH["rejoinder"]}
    made = (await http.post(url, json=body)).raise_for_status().json()["id"]
    record = (await http.get(f"{url}/{made}", params={"wait": ENDED_S})).raise_for_status().json()
    if record["status"] != "completed":
        raise NotWhole(f"an answer of {tokens} tokens is {record['status']}")
    return made


def fetched(port: int, path: str) -> tuple[float, bytes]:
    """Milliseconds from connecting to the end of the body, and what came, HTTP and all. Blocks; raises ``OSError``."""
    request = f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\nConnection: close\r\n\r\n".encode()
    pieces: list[bytes] = []
    begun = time.monotonic_ns()
    with socket.create_connection((LOOPBACK, port), READ_S) as connection:
        connection.sendall(request)
        while piece := connection.recv(_PIECE):
            pieces.append(piece)
    return (time.monotonic_ns() - begun) / 1e6, b"".join(pieces)


def body_of(answer: bytes) -> bytes:
    """What stands in the chunks of an answer."""
    _, _, rest = answer.partition(b"\r\n\r\n")
    parts: list[bytes] = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        parts.append(rest[:length])
        rest = rest[length + 2 :]
    return b"".join(parts)


def said(body: bytes) -> Iterator[str]:
    """The text of every delta, of chat completions and of responses."""
    for line in body.split(b"\n"):
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line[6:])
        if event.get("type") == "response.output_text.delta":
            yield event["delta"]
        for choice in event.get("choices", ()):
            yield choice["delta"].get("content") or ""


def check(body: bytes, tokens: int) -> None:
    """Raises ``NotWhole`` unless every token is there, once and in its order, and the end."""
    marks = list(map(int, _MARK.findall("".join(said(body)))))
    ended = b"data: [DONE]" in body or b"\nevent: response.completed\n" in body
    if marks != list(range(1, tokens + 1)) or not ended:
        raise NotWhole(f"{len(marks)} of {tokens} tokens were read again{'' if ended else ', and no end'}")


async def measure(way: ChatWay, http: httpx2.AsyncClient, tokens: int, logs: int) -> Mapping[str, list[float]]:
    """Metric -> milliseconds on each log; every one is read for the first time, and once more. Raises ``NotWhole``."""
    took: dict[str, list[float]] = {}
    for name, metric in FORMATS.items():
        for _ in range(logs):
            generation = await finished(way, http, tokens)
            for state in ("cold", "warm"):
                path = f"/v1/generations/{generation}/events?format={name}"
                ms, answer = await asyncio.to_thread(fetched, way.port, path)
                check(body_of(answer), tokens)
                took.setdefault(f"{metric}_{state}_ms", []).append(ms)
    return took


def rows_of(took: Mapping[str, list[float]]) -> list[Row]:
    """Medians."""
    return [Row(metric, "ours", median(times), raw={"ms": times}) for metric, times in took.items()]
