"""An OpenAI-compatible provider that fails as it is told, and keeps a book of every call.

What a call suffers stands in its prompt, so that a run can be replayed: the last user message is a :class:`Script` as
JSON, and the n-th call with its key suffers ``faults[n]``.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec

from tests.support.waiting import wait_until

_WORDS = (
    "the ", "relay ", "holds. ", "Zoë ", "🙂 ", "👩‍👩‍👧 ", "line\n", "\n\n", '"quoted" ', "back\\slash ", "tab\t",
    "data: x\n", "id: 7\n", "sep\u2028sep ", "日本語 ", "end\r\n", "e\u0301 ", "{}[] ", ": comment\n",
)  # fmt: skip
_RESET = struct.pack("ii", 1, 0)


class Script(msgspec.Struct):
    """What a generation's calls do. ``rate``: tokens a second; 0 = at once."""

    key: str
    tokens: int = 20
    rate: float = 50.0
    ttft_s: float = 0.0
    faults: list[str] = []
    """``429``, ``500``, ``503``, ``silence``, or at the n-th token ``reset@n``, ``truncate@n``, ``cut@n``,
    ``stall@n``, ``error@n``; empty = none."""


def tokens_of(key: str, count: int) -> list[str]:
    """The answer's tokens: as wicked as text comes, the same for the same key, each numbered so that none is alike."""
    chooser = random.Random(key)
    return [f"{n}{chooser.choice(_WORDS)}" for n in range(count)]


def text_of(script: Script) -> str:
    """The whole answer."""
    return "".join(tokens_of(script.key, script.tokens))


@dataclass
class ProviderCall:
    """One call, on the loop's clock."""

    key: str
    index: int
    prefix: int
    """Characters of the answer that the caller had already."""
    started_at: float
    caller: str = ""
    """The first part of the path: who asks."""
    closed_at: float | None = None
    tokens: int = 0
    outcome: str = "open"


class _Fault(Exception):
    """The call ends here, in the way its name says."""


@dataclass
class ChaosProvider:
    """An async context manager on the loopback; ``/v1/chat/completions`` only."""

    calls: list[ProviderCall] = field(default_factory=list[ProviderCall])
    port: int = 0
    _counts: Counter[str] = field(default_factory=Counter[str])
    _writers: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await wait_until(lambda: not self._writers)

    @property
    def live(self) -> int:
        """Calls that are open."""
        return sum(call.closed_at is None for call in self.calls)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One call for each connection."""
        self._writers.add(writer)
        try:
            asked = await _read_request(reader)
            if asked is not None:
                await self._answer(*asked, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(
        self, caller: str, body: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        user = next(m for m in reversed(body["messages"]) if m["role"] == "user")
        last = body["messages"][-1]
        prefix = last["content"] if last["role"] == "assistant" else ""
        script = msgspec.json.decode(user["content"], type=Script)
        index = self._counts[script.key]
        self._counts[script.key] += 1
        call = ProviderCall(script.key, index, len(prefix), asyncio.get_running_loop().time(), caller)
        self.calls.append(call)
        fault, _, at = (script.faults[index] if index < len(script.faults) else "").partition("@")
        speaking = asyncio.ensure_future(_speak(writer, script, call, prefix, fault, int(at or 0)))
        hearing = asyncio.ensure_future(reader.read(1))
        await asyncio.wait([speaking, hearing], return_when=asyncio.FIRST_COMPLETED)
        call.closed_at = asyncio.get_running_loop().time()
        try:
            call.outcome = speaking.result() if speaking.done() else "client_closed"
        except OSError:
            call.outcome = "client_closed"
        except _Fault as fault_:
            call.outcome = str(fault_)
        for task in (speaking, hearing):
            task.cancel()
        await asyncio.gather(speaking, hearing, return_exceptions=True)


async def _read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, Any]] | None:
    """Who asks, and the body."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return None
    caller = head.split(" ")[1].split("/")[1]
    lines = (line.partition(": ") for line in head.split("\r\n")[1:])
    headers = {name.lower(): value for name, _, value in lines}
    return caller, json.loads(await reader.readexactly(int(headers["content-length"])))


async def _speak(
    writer: asyncio.StreamWriter, script: Script, call: ProviderCall, prefix: str, fault: str, at: int
) -> str:
    if fault == "silence":
        await asyncio.Event().wait()
    whole = text_of(script)
    if fault.isdigit() or not whole.startswith(prefix):
        await _refuse(writer, int(fault) if fault else 400)
        return "refused"
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    )
    async for n, token in _paced(script, prefix):
        if fault and n >= at:
            return await _fail(writer, fault)
        await _chunk(writer, {"delta": {"content": token}, "index": 0, "finish_reason": None})
        call.tokens += 1
    if fault and at >= script.tokens:
        return await _fail(writer, fault)
    await _chunk(writer, {"delta": {}, "index": 0, "finish_reason": "stop"})
    counts = {"prompt_tokens": 3, "completion_tokens": call.tokens, "total_tokens": 3 + call.tokens}
    await _write(writer, json.dumps({"id": "c", "choices": [], "usage": counts}))
    await _write(writer, "[DONE]")
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return "completed"


async def _paced(script: Script, prefix: str) -> AsyncIterator[tuple[int, str]]:
    """The tokens that follow the prefix, each with its number, when they are due; the first may be a rest of one."""
    clock = asyncio.get_running_loop().time
    due = clock() + script.ttft_s
    left = len(prefix)
    for n, token in enumerate(tokens_of(script.key, script.tokens)):
        rest = token[left:]
        left = max(left - len(token), 0)
        if not rest:
            continue
        await asyncio.sleep(max(due - clock(), 0))
        yield n, rest
        due += 1 / script.rate if script.rate else 0.0


async def _fail(writer: asyncio.StreamWriter, fault: str) -> str:
    match fault:
        case "truncate":
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        case "error":
            await _write(writer, json.dumps({"error": {"message": "broke", "type": "server_error", "code": None}}))
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        case "reset":
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        case "stall":
            await asyncio.Event().wait()
        case _:
            await writer.drain()
    raise _Fault(f"fault:{fault}")


async def _refuse(writer: asyncio.StreamWriter, status: int) -> None:
    body = json.dumps({"error": {"message": f"chaos says {status}", "type": "chaos"}}).encode()
    if status == 400:
        body = b'{"error":{"message":"continue_final_message does not fit"}}'
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    writer.write(f"{head}connection: close\r\nretry-after: 0.1\r\n\r\n".encode() + body)
    await writer.drain()


async def _chunk(writer: asyncio.StreamWriter, choice: dict[str, Any]) -> None:
    await _write(writer, json.dumps({"id": "c", "object": "chat.completion.chunk", "choices": [choice]}))


async def _write(writer: asyncio.StreamWriter, data: str) -> None:
    frame = f"data: {data}\n\n".encode()
    writer.write(b"%x\r\n%s\r\n" % (len(frame), frame))
    await writer.drain()
