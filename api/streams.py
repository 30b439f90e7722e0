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
from api.formats import open_format
from api.formats.base import Format
from api.formats.folded import Folded, Points
from api.formats.text import Survey, Text
from api.handover import HandOver
from api.node import Node, TheNode
from api.openapi import EVENTS
from api.params import GenerationId, ReaderCursor, ReaderFormat
from api.stream_response import EventStream, Source
from broker.errors import LogUnavailable
from broker.position import START, Cursor, Position
from broker.tail_items import Batch, Live, Reset, TailItem, Viewer

router = APIRouter(prefix="/v1/generations", tags=["events"])

LOOKUP_S = 2.0
"""How long the first look at the log may take before the response begins without its answer."""


@router.get("/{generation}/events", **EVENTS)
async def events(
    *,
    node: TheNode,
    tenant: Tenant,
    cursor: ReaderCursor,
    fmt: ReaderFormat,
    generation: GenerationId,
    replay: Annotated[
        Replay, Query(description="merged: neighbouring deltas of what is in the log already come as one; exact: no")
    ] = "merged",
) -> Response:
    """The events of one generation after a position, until its end."""
    return await answer(node, tenant, generation, cursor, fmt, replay)


async def answer(node: Node, tenant: str, generation: str, cursor: Cursor, name: str, replay: Replay) -> Response:
    """What the route answers. Raises ``InvalidPosition``, and what :meth:`broker.client.Broker.stat` raises."""
    fmt = open_format(name, cursor, merged=replay == "merged")
    stat: Stat | None = None
    try:
        async with asyncio.timeout(LOOKUP_S):
            stat = await node.broker.stat(generation, tenant=tenant)
    except (LogUnavailable, TimeoutError):
        stat = None
    else:
        if stat.ended and cursor == Cursor(stat.top):
            return Response(status_code=204)
    source = open_source(
        node.broker, generation, cursor, fmt, tenant=tenant, replay=replay, stat=stat, points=node.points
    )
    headers = [(b"x-generation-id", generation.encode())]
    return HandOver(EventStream(source, fmt, node.terms, headers=headers, held=stat is None))


def open_source(
    broker: Door,
    generation: str,
    cursor: Cursor,
    fmt: Format,
    *,
    tenant: str,
    replay: Replay = "merged",
    stat: Stat | None = None,
    points: Points | None = None,
) -> Source:
    """What the stream reads; opened when the response begins."""
    if isinstance(fmt, Folded):
        return lambda viewer: _folded(broker, generation, fmt, tenant, viewer, stat, points)
    after = cursor.position
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
            # The next one may be hours away.
            del item


async def _folded(
    broker: Door,
    generation: str,
    reader: Folded,
    tenant: str,
    viewer: Viewer | None,
    stat: Stat | None,
    points: Points | None,
) -> AsyncGenerator[TailItem, None]:
    """The log for a reader of a format with a memory, which is brought to where the reader stands first."""
    begun = False
    after = reader.cursor.position
    async with aclosing(
        broker.tail(generation, after, tenant=tenant, replay="exact", viewer=viewer, stat=stat)
    ) as items:
        async for item in items:
            if not begun:
                # Only now it is sure that the log is there and the reader's.
                await _begin(broker, generation, reader, tenant, stat, points, foreign=isinstance(item, Reset))
                begun = True
            yield item
            del item
    if not begun:
        await _begin(broker, generation, reader, tenant, stat, points, foreign=False)
        yield Batch([], live=False, ended=True)


async def _begin(
    broker: Door,
    generation: str,
    reader: Folded,
    tenant: str,
    stat: Stat | None,
    points: Points | None,
    *,
    foreign: bool,
) -> None:
    if not reader.bound:
        reader.bind(await broker.submission(generation, tenant=tenant))
    if reader.cursor.position != START and not foreign:
        foreign = not await _seek(broker, generation, reader, points or Points())
    if stat is None:
        stat = await broker.stat(generation, tenant=tenant)
    reader.begin(stat.restart, foreign=foreign)


async def _seek(broker: Door, generation: str, reader: Folded, points: Points) -> bool:
    position = reader.cursor.position
    known = None if reader.cursor.frame else points.find(generation, reader.name, position)
    if known is not None:
        reader.stand(known)
        return True
    async with aclosing(broker.prefix(generation, position)) as batches:
        async for batch in batches:
            if reader.seek(batch):
                if not reader.cursor.frame:
                    points.keep(generation, reader.name, position, reader.at)
                return True
            # A long log must not hold the node up.
            await asyncio.sleep(0)
    return False
