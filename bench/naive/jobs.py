"""The naive design's worker: a stock arq job that asks the provider through OpenAI's SDK and appends each token."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import redis.asyncio as aioredis
from arq import func
from arq.connections import RedisSettings, create_pool
from arq.worker import Worker
from openai import AsyncOpenAI

QUEUE = "naive:jobs"


async def answer(ctx: dict[str, Any], stream: str, prompt: str) -> None:
    """One answer, token by token, into its stream."""
    add = ctx["tokens"].xadd
    chunks = await ctx["openai"].chat.completions.create(
        model="m", messages=[{"role": "user", "content": prompt}], stream=True
    )
    async for chunk in chunks:
        if chunk.choices and (text := chunk.choices[0].delta.content):
            await add(stream, {"data": json.dumps({"type": "text.delta", "text": text})})
    await add(stream, {"data": json.dumps({"type": "done"}), "type": "done"})


async def serve(redis_url: str, provider_url: str) -> None:
    """Work until cancelled, with arq's defaults: the queue is polled twice a second."""

    async def begin(ctx: dict[str, Any]) -> None:
        ctx["openai"] = AsyncOpenAI(api_key="none", base_url=provider_url)
        ctx["tokens"] = cast("Any", aioredis.Redis).from_url(redis_url)

    worker = Worker(
        [func(answer, name="answer")],
        redis_settings=RedisSettings.from_dsn(redis_url),
        queue_name=QUEUE,
        on_startup=begin,
        keep_result=0,
        handle_signals=False,
    )
    await worker.async_run()


class Submitting:
    """Jobs for :func:`serve`; made by :func:`submitting`."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def submit(self, stream: str, prompt: str) -> None:
        """Queue one answer."""
        await self._pool.enqueue_job("answer", stream, prompt)


@asynccontextmanager
async def submitting(redis_url: str) -> AsyncGenerator[Submitting]:
    """A connection to the queue."""
    pool = await create_pool(RedisSettings.from_dsn(redis_url), default_queue_name=QUEUE)
    try:
        yield Submitting(pool)
    finally:
        await pool.aclose(close_connection_pool=True)


if __name__ == "__main__":
    asyncio.run(serve(os.environ["NAIVE_REDIS_URL"], os.environ["NAIVE_PROVIDER_URL"]))
