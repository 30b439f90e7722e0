"""An upstream whose answers go on without a listener: OpenAI's background responses on a real socket, counted.

An answer is made once, event by event, whoever listens; every listener is told all of it, or what follows a sequence
number. Each token is counted as it is made: what is counted twice would be paid twice.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from urllib.parse import parse_qs, urlsplit

from broker.tasks import end
from tests.support.upstream import read_request
from tests.support.waiting import wait_until

HOLD = "hold"
"""Where the making of an answer waits for :meth:`BackgroundUpstream.go`."""
ENDS = ("response.completed", "response.failed", "response.incomplete")
Script = Sequence[dict[str, Any] | Literal["hold"]]


@dataclass(slots=True)
class Answer:
    """One response and how far it is made."""

    id: str
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    grown: asyncio.Condition = field(default_factory=asyncio.Condition)
    status: str = "in_progress"


class BackgroundUpstream:
    """Serves its ``script`` to every POST. An async context manager.

    ``posts`` counts answers asked for, ``tokens`` deltas made, ``listened`` each GET with its ``starting_after``;
    ``forget`` = every id is unknown; ``unstreamable`` = finished answers can only be retrieved; ``cut_at`` breaks the
    next listener's socket off behind so many events.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.scripts: list[Script] = []
        """What the next answers say instead, in their order."""
        self._steps = asyncio.Semaphore(0)
        self.posts: list[dict[str, Any]] = []
        self.listened: list[tuple[str, str | None]] = []
        self.cancelled: list[str] = []
        self.answers: dict[str, Answer] = {}
        self.tokens = 0
        self.forget = False
        self.unstreamable = False
        self.cut_at: list[int] = []
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = "http://{}:{}/v1".format(*self._server.sockets[0].getsockname())
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._server.close()
        await end(*self._tasks)
        for answer in self.answers.values():
            await self._stop(answer)
        for writer in self._writers:
            writer.transport.abort()
        await wait_until(lambda: not self._writers)

    async def _stop(self, answer: Answer) -> None:
        async with answer.grown:
            answer.status = "cancelled"
            answer.grown.notify_all()

    def go(self) -> None:
        """Let the making go on, up to the next hold."""
        self._steps.release()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while (asked := await read_request(reader)) is not None:
                if not await self._route(asked.method, asked.path, asked.body, writer):
                    return
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _route(self, method: str, target: str, body: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        """Whether the connection may be used again."""
        url = urlsplit(target)
        query = parse_qs(url.query)
        parts = url.path.removeprefix("/v1/responses").strip("/").split("/")
        if method == "POST" and parts == [""]:
            self.posts.append(body)
            return await self._stream(self.begin(), 0, writer)
        answer = None if self.forget else self.answers.get(parts[0])
        if answer is None:
            return await _say(writer, 404, {"error": {"message": f"Response with id '{parts[0]}' not found."}})
        if parts[1:] == ["cancel"]:
            self.cancelled.append(answer.id)
            await self._stop(answer)
            return await _say(writer, 200, {"id": answer.id, "status": "cancelled"})
        if "stream" not in query:
            return await _say(writer, 200, answer.events[-1].get("response", {"status": "in_progress"}))
        after = query.get("starting_after", [None])[0]
        self.listened.append((answer.id, after))
        if self.unstreamable:
            return await _say(writer, 400, {"error": {"message": "This response can no longer be streamed."}})
        return await self._stream(answer, int(after or -1) + 1, writer)

    def begin(self) -> Answer:
        """Begin to make an answer."""
        answer = Answer(f"resp_{len(self.answers) + 1}")
        self.answers[answer.id] = answer
        script = self.scripts.pop(0) if self.scripts else self.script
        task = asyncio.get_running_loop().create_task(self._make(answer, script))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return answer

    async def _make(self, answer: Answer, script: Script) -> None:
        for step in script:
            if isinstance(step, str):
                await self._steps.acquire()
                continue
            if answer.status == "cancelled":
                return
            event: dict[str, Any] = {**step, "sequence_number": len(answer.events)}
            if "response" in event:
                event["response"] = {**event["response"], "id": answer.id}
                if event["type"] in ENDS:
                    items = [made["item"] for made in answer.events if made["type"] == "response.output_item.done"]
                    event["response"]["output"] = items
            self.tokens += event["type"].endswith(".delta")
            async with answer.grown:
                answer.events.append(event)
                answer.grown.notify_all()

    async def _stream(self, answer: Answer, at: int, writer: asyncio.StreamWriter) -> bool:
        cut = self.cut_at.pop(0) if self.cut_at else None
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            async with answer.grown:
                await answer.grown.wait_for(
                    lambda: len(answer.events) > at or answer.status == "cancelled"  # noqa: B023 - asked at once
                )
                fresh = answer.events[at:cut]
            if not fresh:
                return False
            for event in fresh:
                frame = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
                writer.write(b"%x\r\n%s\r\n" % (len(frame), frame))
            await writer.drain()
            if writer.transport.is_closing():
                return False
            at += len(fresh)
            if cut is not None and at >= cut:
                return False
            if fresh[-1]["type"] in ENDS:
                writer.write(b"0\r\n\r\n")
                await writer.drain()
                return True


async def _say(writer: asyncio.StreamWriter, status: int, body: dict[str, Any]) -> bool:
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    await writer.drain()
    return True
