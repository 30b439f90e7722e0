"""The naive design, as people write it by hand: one blocking XREAD per viewer behind a StreamingResponse.

It resumes from ``Last-Event-ID``, sends pings, ends at the terminal event, and reads in pages: the honest version.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any, cast

import redis.asyncio as aioredis
import uvicorn
from fastapi import FastAPI, Header
from fastapi.responses import StreamingResponse

PAGE = 1000
PING_MS = 15_000


def create_app(redis_url: str) -> FastAPI:
    """The whole service."""
    # Every viewer waits on a connection of its own: no bound, or viewer 101 would wait for the first to leave.
    redis: Any = cast("Any", aioredis.Redis).from_url(redis_url, max_connections=100_000)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        yield
        await redis.aclose()

    app = FastAPI(lifespan=lifespan)

    async def body(stream: str, after: str) -> AsyncGenerator[bytes]:
        while True:
            reply = await redis.xread({stream: after}, count=PAGE, block=PING_MS)
            if not reply:
                yield b": ping\n\n"
                continue
            frames: list[bytes] = []
            ended = False
            for entry_id, fields in reply[0][1]:
                after = entry_id.decode()
                frames.append(b"id: %b\ndata: %b\n\n" % (entry_id, fields[b"data"]))
                ended = fields.get(b"type") == b"done"
            yield b"".join(frames)
            if ended:
                return

    async def events(stream: str, last_event_id: Annotated[str, Header()] = "0-0") -> StreamingResponse:
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        return StreamingResponse(body(stream, last_event_id), media_type="text/event-stream", headers=headers)

    async def readyz() -> dict[str, bool]:
        return {"ok": bool(await redis.ping())}

    app.get("/streams/{stream}/events")(events)
    app.get("/readyz")(readyz)
    return app


async def serve(redis_url: str, port: int) -> None:
    """Serve on the loopback until a signal; the same server and flags as a node of ours."""
    config = uvicorn.Config(
        create_app(redis_url), port=port, backlog=2048, access_log=False, log_config=None, server_header=False
    )
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    loop_factory = uvicorn.Config("", log_config=None).get_loop_factory()
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(serve(os.environ["NAIVE_REDIS_URL"], int(os.environ["NAIVE_PORT"])))
