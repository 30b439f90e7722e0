"""A provider on loopback that says what it is asked for, in two vendors' words: ``python -m bench.sdk_provider``.

A model's name is ``TOKENSxRATE``: so many tokens, so many a second; 0 = as fast as they are read. Each token is an
event, an HTTP chunk and, unless as fast as can be, a packet of its own, as it is with the vendors. It prints its
address as a line of JSON, and serves until its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
_WRITE_BYTES = 65_536


def token(number: int) -> str:
    """The text of a token; its first has number 0."""
    return f" word{number % 1000}"


def text(tokens: int) -> str:
    """A whole answer."""
    return "".join(map(token, range(tokens)))


def model(tokens: int, rate: float) -> str:
    """The name that asks for so much."""
    return f"{tokens}x{rate:g}"


def chat(tokens: int) -> Iterator[bytes]:
    """The events of an answer as OpenAI frames them."""
    head = {
        "id": "chatcmpl-CXSbenchbenchbenchbenchbench",
        "object": "chat.completion.chunk",
        "created": 1760000000,
        "model": "gpt-5-mini-2025-08-07",
        "service_tier": "default",
        "system_fingerprint": "fp_0123456789",
    }

    def event(delta: dict[str, object], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return b"data: %s\n\n" % _json({**head, "choices": [choice], "usage": None})

    yield event({"role": "assistant", "content": "", "refusal": None})
    for number in range(tokens):
        yield event({"content": token(number)})
    yield event({}, "stop")
    usage = {"prompt_tokens": 3, "completion_tokens": tokens, "total_tokens": tokens + 3}
    yield b"data: %s\n\n" % _json({**head, "choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def messages(tokens: int) -> Iterator[bytes]:
    """The events of an answer as Anthropic frames them."""

    def event(kind: str, **body: object) -> bytes:
        return b"event: %s\ndata: %s\n\n" % (kind.encode(), _json({"type": kind, **body}))

    usage = {"input_tokens": 3, "output_tokens": 1}
    message: dict[str, Any] = {"id": "msg_01bench", "type": "message", "role": "assistant", "model": "m", "content": []}
    yield event("message_start", message={**message, "stop_reason": None, "stop_sequence": None, "usage": usage})
    yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    yield event("ping")
    for number in range(tokens):
        yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": token(number)})
    yield event("content_block_stop", index=0)
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    yield event("message_delta", delta=stop, usage={"output_tokens": tokens})
    yield event("message_stop")


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


async def _asked(reader: asyncio.StreamReader) -> tuple[Iterator[bytes], float]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = next(line.partition(":")[2] for line in head.split("\r\n") if line.startswith("content-length:"))
    body = json.loads(await reader.readexactly(int(length)))
    tokens, _, rate = body["model"].partition("x")
    return (chat if head.split()[1] == CHAT else messages)(int(tokens)), float(rate)


async def _answer(events: Iterator[bytes], rate: float, writer: asyncio.StreamWriter) -> None:
    clock = asyncio.get_running_loop().time
    begun, waiting = clock(), bytearray(HEAD)
    for said, event in enumerate(events, 1):
        waiting += b"%x\r\n%s\r\n" % (len(event), event)
        if rate or len(waiting) > _WRITE_BYTES:
            writer.write(bytes(waiting))
            waiting.clear()
            await writer.drain()
        if rate and (early := begun + said / rate - clock()) > 0:
            await asyncio.sleep(early)
    writer.write(bytes(waiting) + b"0\r\n\r\n")
    await writer.drain()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            await _answer(*await _asked(reader), writer)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def main() -> None:
    """Serve until nobody holds our standard input any more."""
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=2048)
    host, port = server.sockets[0].getsockname()
    print(json.dumps({"url": f"http://{host}:{port}"}), flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
