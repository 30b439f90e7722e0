"""``GET /v1/generations/{id}/events``: read a log, live or replayed, from any position. Contract section 4.

Browsers' EventSource gives up for good on any answer but 200. So what can be refused is refused first; after that a
passing trouble with Redis is waited out inside the response.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.auth import Tenant
from api.door import Door, Replay, Stat
from api.formats.base import Format
from api.formats.text import Survey, Text
from api.handover import HandOver
from api.node import Node, TheNode
from api.openapi import EVENTS
from api.params import GenerationId, ReaderFormat, ReaderPosition
from api.stream_response import EventStream, Source
from broker.errors import LogUnavailable
from broker.position import START, Position
from broker.tail_items import Live, TailItem

router = APIRouter(prefix="/v1/generations", tags=["events"])

LOOKUP_S = 2.0
"""How long the first look at the log may take before the response begins without its answer."""


@router.get("/{generation}/events", **EVENTS)
async def events(
    *,
    node: TheNode,
    tenant: Tenant,
    position: ReaderPosition,
    fmt: ReaderFormat,
    generation: GenerationId,
    replay: Annotated[
        Replay, Query(description="merged: neighbouring deltas of what is in the log already come as one; exact: no")
    ] = "merged",
) -> Response:
    """The events of one generation after a position, until its end."""
    return await answer(node, tenant, generation, position, fmt, replay)


async def answer(node: Node, tenant: str, generation: str, position: Position, fmt: Format, replay: Replay) -> Response:
    """What the route answers. Raises what :meth:`broker.client.Broker.stat` raises."""
    stat: Stat | None = None
    try:
        async with asyncio.timeout(LOOKUP_S):
            stat = await node.broker.stat(generation, tenant=tenant)
    except (LogUnavailable, TimeoutError):
        stat = None
    else:
        if stat.ended and stat.top == position:
            return Response(status_code=204)
    source = open_source(node.broker, generation, position, fmt, tenant=tenant, replay=replay, stat=stat)
    headers = [(b"x-generation-id", generation.encode())]
    return HandOver(EventStream(source, fmt, node.terms, headers=headers, held=stat is None))


def open_source(
    broker: Door,
    generation: str,
    after: Position,
    fmt: Format,
    *,
    tenant: str,
    replay: Replay = "merged",
    stat: Stat | None = None,
) -> Source:
    """What the stream reads; opened when the response begins."""
    if isinstance(fmt, Text):
        return lambda _: _surveyed(broker, generation, after, fmt, tenant)
    return lambda viewer: broker.tail(generation, after, tenant=tenant, replay=replay, viewer=viewer, stat=stat)


async def _surveyed(
    broker: Door, generation: str, after: Position, reader: Text, tenant: str
) -> AsyncGenerator[TailItem, None]:
    """The log for a reader of text: first a look at what is there, then only what stands."""
    survey = Survey(after)
    # Exact: whether the reader holds text depends on single entries, not on what they were joined into.
    async with aclosing(broker.tail(generation, START, tenant=tenant, replay="exact")) as items:
        async for item in items:
            if isinstance(item, Live):
                break
            survey.look(item)
    async with aclosing(broker.tail(generation, survey.begin(reader), tenant=tenant)) as items:
        async for item in items:
            yield item
