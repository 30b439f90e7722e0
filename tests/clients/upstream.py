"""A provider whose model's name says what it will do: ``text``, ``tools``, ``reasoning`` or ``error``."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

from tests.clients.golden import Whole
from tests.clients.left import ToolUse

RATE = 400.0
"""Tokens a second."""
_TEXT = [
    f"{n} {word}"
    for n, word in enumerate(("Zoë ", "🙂 ", "relay ", "日本語 ", '"quoted" ', "line\n", "sep\u2028 ") * 9)
]
_THOUGHTS = [f"thought {n}. " for n in range(12)]
CALLS = (ToolUse("get_weather", '{"city":"Besançon"}'), ToolUse("get_weather", '{"city":"Zürich"}'))
"""What the model ``tools`` asks for."""
_FAIL_AT = 30


def whole(scenario: str) -> Whole:
    """All that this model says in this scenario."""
    if scenario == "tools":
        return Whole(tools=CALLS)
    return Whole("".join(_TEXT), "".join(_THOUGHTS) if scenario == "reasoning" else "")


def _deltas(scenario: str) -> list[dict[str, Any]]:
    text: list[dict[str, Any]] = [{"content": token} for token in _TEXT]
    if scenario == "reasoning":
        return [{"reasoning_content": thought} for thought in _THOUGHTS] + text
    if scenario != "tools":
        return text
    made: list[dict[str, Any]] = []
    for index, call in enumerate(CALLS):
        function = {"name": call.name, "arguments": ""}
        made.append({"tool_calls": [{"index": index, "id": f"call_{index}", "type": "function", "function": function}]})
        for at in range(0, len(call.arguments), 4):
            piece = {"arguments": call.arguments[at : at + 4]}
            made.append({"tool_calls": [{"index": index, "function": piece}]})
    return made


@dataclass
class ScriptedProvider:
    """An async context manager on the loopback; ``/v1/chat/completions`` only. ``asked``: the requests, in turn.

    Who brings the results of tools is answered with text.
    """

    asked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    port: int = 0
    _gates: dict[int, asyncio.Event] = field(default_factory=dict[int, asyncio.Event])
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    @property
    def calls(self) -> list[str]:
        """The models asked for: what has to be paid."""
        return [str(body["model"]) for body in self.asked]

    def hold(self, times: int) -> list[bytes]:
        """Stop the next answers so many times, at even distances; how the last token before each stop begins."""
        at = [len(_TEXT) * n // (times + 1) for n in range(1, times + 1)]
        self._gates = {token: asyncio.Event() for token in at}
        return [b"%d " % (token - 1) for token in at]

    def release(self) -> None:
        """The answer goes on, up to the next stop."""
        shut = [gate for gate in self._gates.values() if not gate.is_set()]
        if shut:
            shut[0].set()

    def release_all(self) -> None:
        """Nothing is held any more."""
        for gate in self._gates.values():
            gate.set()
        self._gates = {}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: writer.close())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            body = json.loads(await reader.readexactly(length))
            self.asked.append(body)
            results = any(message["role"] == "tool" for message in body["messages"])
            await _answer(writer, "text" if results else body["model"], self._gates)


async def _answer(writer: asyncio.StreamWriter, scenario: str, gates: dict[int, asyncio.Event]) -> None:
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    tick = asyncio.get_running_loop().time
    start = tick()
    for number, delta in enumerate(_deltas(scenario)):
        if number in gates:
            await gates[number].wait()
        if scenario == "error" and number == _FAIL_AT:
            _frame(writer, {"error": {"message": "upstream died", "type": "invalid_request_error", "code": "broken"}})
            break
        _frame(writer, _chunk({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}))
        await writer.drain()
        await asyncio.sleep(max(0.0, start + (number + 1) / RATE - tick()))
    else:
        finish = "tool_calls" if scenario == "tools" else "stop"
        _frame(writer, _chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}))
        usage = {"prompt_tokens": 3, "completion_tokens": 63, "total_tokens": 66}
        _frame(writer, _chunk({"choices": [], "usage": usage}))
    data = b"data: [DONE]\n\n"
    writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), data))
    await writer.drain()


def _chunk(rest: dict[str, Any]) -> dict[str, Any]:
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1760000000, "model": "m", **rest}


def _frame(writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
    data = f"data: {json.dumps(body)}\n\n".encode()
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))
