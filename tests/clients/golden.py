"""A server that has nothing but the golden files: what the clients do with each is known before our own code is asked.

It speaks every wire, resumes on all that can be resumed, puts ids and a ``retry:`` where Rejoinder puts them and a
heartbeat behind every frame. The model names the scenario: ``golden/text``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import parse_qs, unquote, urlsplit

from tests.clients.left import ToolUse

GOLDENS = Path(__file__).parent.parent / "goldens"
FILES = {
    ("chat", "text"): "chat_text_usage",
    ("chat", "tools"): "chat_tools",
    ("chat", "reasoning"): "chat_reasoning_content",
    ("chat", "error"): "chat_error",
    ("responses", "text"): "responses_full_text",
    ("responses", "tools"): "responses_full_function_call",
    ("responses", "reasoning"): "responses_reasoning_text",
    ("responses", "error"): "responses_failed",
    ("responses", "cancel"): "responses_cancelled_incomplete",
    ("messages", "text"): "anthropic_text",
    ("messages", "tools"): "anthropic_tool_use",
    ("messages", "reasoning"): "anthropic_thinking_text",
    ("messages", "error"): "anthropic_error_mid",
    ("ui", "text"): "ui_text",
    ("ui", "tools"): "ui_tool",
    ("ui", "reasoning"): "ui_reasoning_text",
    ("ui", "error"): "ui_error",
    ("ui", "cancel"): "ui_abort",
    ("ui", "takeover"): "ui_retry_reset",
}
_PARIS = ToolUse("get_weather", '{"city":"Paris"}')
_CANCELLED_CHAT = {"error": {"message": "cancelled", "type": "server_error", "param": None, "code": "cancelled"}}
_CANCELLED_MESSAGE = {"type": "error", "error": {"type": "api_error", "message": "cancelled"}}
_RUN = "gen_1"


@dataclass(frozen=True)
class Whole:
    """What the model said: nothing a client was left with may differ."""

    text: str = ""
    reasoning: str = ""
    tools: tuple[ToolUse, ...] = ()


def whole(wire: str, scenario: str) -> Whole:
    """What stands in the golden file of this scenario."""
    if scenario == "tools":
        calls = (_PARIS, ToolUse("get_time", "{}")) if wire == "chat" else (_PARIS,)
        return Whole("Hello" if wire == "messages" else "", tools=calls)
    if scenario == "reasoning":
        return Whole("Hello", "hm" if wire == "chat" else "thinking")
    return Whole("Hello")


def frames(wire: str, scenario: str) -> list[bytes]:
    """The frames of a stream, each with an id, the first one with a ``retry:``."""
    if wire == "native":
        return _native(scenario)
    lines = _lines(wire, scenario)
    if wire == "ui" and scenario in ("error", "cancel"):
        reason = "error" if scenario == "error" else "other"
        lines = [*lines[:-1], json.dumps({"type": "finish", "finishReason": reason}), lines[-1]]
    made: list[bytes] = []
    for number, line in enumerate(lines, 1):
        named = f"event: {json.loads(line)['type']}\n" if wire in ("responses", "messages") else ""
        retry = "retry: 20\n" if number == 1 else ""
        made.append(f"id: 1700000000000-{number}\n{retry}{named}data: {line}\n\n".encode())
    return made


def _lines(wire: str, scenario: str) -> list[str]:
    file = FILES.get((wire, scenario))
    if file is not None:
        lines = (GOLDENS / f"{file}.jsonl").read_text().splitlines()
        return lines if wire != "chat" or lines[-1] == "[DONE]" else [*lines, "[DONE]"]
    begun = (GOLDENS / f"{FILES[wire, 'text']}.jsonl").read_text().splitlines()
    if wire == "chat":
        return [*begun[:2], json.dumps(_CANCELLED_CHAT), "[DONE]"]
    return [*begun[:4], json.dumps(_CANCELLED_MESSAGE)]


def _native(scenario: str) -> list[bytes]:
    events: list[dict[str, Any]] = [
        {"type": "generation.created", "generation": {"id": _RUN}},
        {"type": "generation.started", "attempt": 1, "mode": "restart", "provider": "golden", "model": "m1"},
    ]
    usage = {"usage": {"input_tokens": 3, "output_tokens": 2}}
    if scenario == "reasoning":
        events.append({"type": "reasoning.delta", "block": 0, "text": "thinking"})
    if scenario == "tools":
        call = {"block": 0, "call_id": "call_1", "name": _PARIS.name, "arguments": _PARIS.arguments}
        events += [{"type": "tool_call.completed", **call}]
    else:
        events += [{"type": "text.delta", "block": 1, "text": text} for text in ("Hel", "lo")]
    match scenario:
        case "error":
            end: dict[str, Any] = {"type": "generation.failed", "error": {"code": "x", "message": "upstream died"}}
        case "cancel":
            end = {"type": "generation.cancelled", "reason": "client"}
        case _:
            finish = "tool_calls" if scenario == "tools" else "stop"
            end = {"type": "generation.completed", "finish_reason": finish}
    events.append({**end, **usage})
    return [
        f"id: 1700000000000-{number}\nretry: 20\nevent: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
        for number, event in enumerate(events, 1)
    ]


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: dict[str, Any]


End = Literal["terminal", "clean", "broken"]


@dataclass
class GoldenServer:
    """An async context manager on the loopback.

    ``keep``: how many frames are sent, all by default; ``end``: how a shorter stream ends: in order of HTTP
    (``clean``) or without the last chunk (``broken``). Both are for the next stream only.
    ``page``: files for a browser.
    """

    keep: int | None = None
    end: End = "terminal"
    port: int = 0
    page: dict[str, bytes] = field(default_factory=dict[str, bytes])
    asked: list[Asked] = field(default_factory=list[Asked])
    _scenarios: dict[str, str] = field(default_factory=dict[str, str])

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            asked = await _read(reader)
            self.asked.append(asked)
            await self._route(asked)(asked, writer)
        with suppress(OSError):
            writer.close()

    def _route(self, asked: Asked) -> Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]:
        parts = asked.path.strip("/").split("/")
        match parts:
            case ["v1", "chat", "completions"]:
                return self._chat
            case ["v1", "responses", *_]:
                return self._responses
            case ["v1", "messages"]:
                return self._messages
            case ["v1", "ui", "chat", *_]:
                return self._ui
            case ["v1", "generations", *_]:
                return self._generations
            case _:
                return self._file

    async def _chat(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        await self._stream(writer, frames("chat", _scenario(asked)))

    async def _messages(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        await self._stream(writer, frames("messages", _scenario(asked)))

    async def _responses(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.method == "POST":
            self._scenarios["resp_1"] = _scenario(asked)
        after = int(asked.query.get("starting_after", "-1"))
        await self._stream(writer, frames("responses", self._scenarios["resp_1"])[after + 1 :])

    async def _ui(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.method == "POST":
            scenario = self._scenarios[_RUN] = _scenario(asked)
            if "id" in asked.body:
                self._scenarios[asked.body["id"]] = scenario
            await self._stream(writer, frames("ui", scenario), {"x-workflow-run-id": _RUN})
            return
        known = self._scenarios.get(unquote(asked.path.split("/")[-2]))
        if known is None and "startIndex" in asked.query:
            # To Chromium a 204 is an empty stream, and to this transport a stream without `finish` means: ask again.
            await self._stream(writer, [b'data: {"type":"finish"}\n\n'])
            return
        if known is None:
            await _reply(writer, 204)
            return
        await self._stream(writer, frames("ui", known)[int(asked.query.get("startIndex", "0")) :])

    async def _generations(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.method == "POST":
            self._scenarios[_RUN] = _scenario(asked)
            if "text/event-stream" not in asked.headers.get("accept", ""):
                links = {"events": f"/v1/generations/{_RUN}/events"}
                await _reply(writer, 202, json.dumps({"id": _RUN, "links": links}).encode())
                return
        last = asked.headers.get("last-event-id", "").rpartition("-")[2] or "0"
        await self._stream(writer, frames("native", self._scenarios[_RUN])[int(last) :])

    async def _file(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        found = self.page.get(asked.path)
        await _reply(writer, 404 if found is None else 200, found or b"", asked.path.endswith(".js"))

    async def _stream(
        self, writer: asyncio.StreamWriter, made: list[bytes], headers: dict[str, str] | None = None
    ) -> None:
        keep, end = self.keep, self.end
        self.keep, self.end = None, "terminal"
        extra = "".join(f"{name}: {value}\r\n" for name, value in {"x-generation-id": _RUN, **(headers or {})}.items())
        writer.write(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\nconnection: close\r\n"
            f"transfer-encoding: chunked\r\n{extra}\r\n".encode()
        )
        for frame in made[:keep]:
            writer.write(b"%x\r\n%s\r\n" % (len(frame), frame))
            writer.write(b"5\r\n: hb\n\r\n")
            await writer.drain()
        if end != "broken":
            writer.write(b"0\r\n\r\n")
        await writer.drain()


def _scenario(asked: Asked) -> str:
    return str(asked.body["model"]).rpartition("/")[2]


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    split = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(split.query).items()}
    return Asked(method, split.path, query, headers, json.loads(body) if body else {})


async def _reply(writer: asyncio.StreamWriter, status: int, body: bytes = b"", script: bool = False) -> None:
    kind = "text/javascript" if script else "application/json" if body.startswith(b"{") else "text/html"
    head = f"HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
