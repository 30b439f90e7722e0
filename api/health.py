"""Operations: is the node alive, is it ready, what has it counted."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response

from api.errors import Draining
from api.node import TheNode
from api.openapi import ALIVE, METRICS, READY
from broker import telemetry
from broker.errors import LogUnavailable

router = APIRouter(tags=["operations"])

ASK_S = 2.0
"""How long Redis may take to answer a probe or a scrape."""

_JSON = "application/json"


@router.get("/livez", **ALIVE)
async def livez() -> Response:
    """Whether the process serves at all."""
    return Response(b'{"status":"alive"}', media_type=_JSON)


@router.get("/readyz", **READY)
async def readyz(node: TheNode) -> Response:
    """Whether new work should come here: 503 while the node drains or Redis is away."""
    if node.drain.begun.is_set():
        raise Draining
    try:
        async with asyncio.timeout(ASK_S):
            await node.broker.ping()
    except TimeoutError:
        raise LogUnavailable from None
    return Response(b'{"status":"ready"}', media_type=_JSON)


@router.get("/metrics", **METRICS)
async def metrics(node: TheNode) -> Response:
    """Prometheus metrics; the fleet's are left out while Redis is away."""
    fleet = None
    try:
        async with asyncio.timeout(ASK_S):
            fleet = await node.broker.fleet_stats()
    except (LogUnavailable, TimeoutError):
        pass
    return Response(telemetry.render(node.metrics, fleet), headers={"content-type": telemetry.CONTENT_TYPE})
