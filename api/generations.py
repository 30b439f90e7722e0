"""``/v1/generations``: submit, look, list, cancel, delete. Contract section 3."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response

from api.auth import Tenant
from api.body import read_generation_request
from api.door import Submitted
from api.formats import FORMATS
from api.handover import HandOver
from api.node import TheNode
from api.openapi import LIST, RECORD, SUBMIT, problems
from api.params import GenerationId, HeaderPosition, IdempotencyKey, wants_stream
from api.stream_response import EventStream
from api.streams import open_source
from api.waiting import CANCEL_WAIT_S, wait_for_end
from broker.dialects.check import check_routed
from broker.errors import ResumeNeedsKey
from broker.position import START, Cursor
from broker.record import Record, Status

router = APIRouter(prefix="/v1/generations", tags=["generations"])

JSON = "application/json"


@router.post("", status_code=202, **SUBMIT)
async def submit(
    request: Request,
    node: TheNode,
    tenant: Tenant,
    position: HeaderPosition,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Submit a generation: its record, or with `Accept: text/event-stream` its events at once."""
    streams = wants_stream(request.headers.get("accept"))
    if streams and position not in (None, START) and idempotency_key is None:
        raise ResumeNeedsKey
    # A re-POST after a cut makes nothing new as a rule, and costs only when it does.
    resumes = idempotency_key is not None and position not in (None, START)
    await (node.submit_limit.check if resumes else node.submit_limit.charge)(tenant, request)
    wanted = await read_generation_request(request)
    check_routed(wanted, node.models)
    submitted = await node.broker.submit(wanted, tenant=tenant, idempotency_key=idempotency_key)
    if not submitted.replayed:
        node.metrics.submits += 1
        if resumes:
            await node.submit_limit.count(tenant, request)
    headers = _submitted_headers(submitted)
    if not streams:
        return _record(submitted.record, 202, headers)
    fmt = FORMATS["native"]()
    source = open_source(node.broker, submitted.record.id, Cursor(position or START), fmt, tenant=tenant)
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return HandOver(EventStream(source, fmt, node.terms, headers=raw))


@router.get("", **LIST)
async def list_generations(
    node: TheNode,
    tenant: Tenant,
    status: Annotated[Status | None, Query(description="Only these")] = None,
    limit: Annotated[int, Query(ge=1, le=100, description="How many at most")] = 20,
    cursor: Annotated[str | None, Query(description="next_cursor of the page before")] = None,
) -> Response:
    """The tenant's generations, newest first, without their outputs."""
    page = await node.broker.list(tenant=tenant, status=status, limit=limit, cursor=cursor)
    body = {"object": "list", "data": list(page.records), "next_cursor": page.next_cursor}
    return Response(msgspec.json.encode(body), media_type=JSON)


@router.get("/{generation}", **RECORD)
async def get(
    request: Request,
    node: TheNode,
    tenant: Tenant,
    generation: GenerationId,
    wait: Annotated[
        float, Query(ge=0, allow_inf_nan=False, description="Seconds to wait for the end; more than 60 means 60")
    ] = 0,
) -> Response:
    """The record, with the answer so far."""
    if wait > 0:
        return _record(await wait_for_end(node, request, generation, tenant, wait), 200)
    return _record(await node.broker.get(generation, tenant=tenant), 200)


@router.post("/{generation}/cancel", responses={202: RECORD["responses"][200], **RECORD["responses"]})
async def cancel(request: Request, node: TheNode, tenant: Tenant, generation: GenerationId) -> Response:
    """Cancel: 200 when it has ended by now, 202 when it is about to; saying it twice does no harm."""
    record = await node.broker.cancel(generation, tenant=tenant)
    if not record.ended:
        record = await wait_for_end(node, request, generation, tenant, CANCEL_WAIT_S)
    return _record(record, 200 if record.ended else 202)


@router.delete("/{generation}", status_code=204, responses=problems(401, 403, 404, 503), response_class=Response)
async def delete(node: TheNode, tenant: Tenant, generation: GenerationId) -> Response:
    """End it if it has not ended, and erase it."""
    await node.broker.delete(generation, tenant=tenant)
    return Response(status_code=204)


def _record(record: Record, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(record.to_json(), status, {"x-generation-id": record.id, **(headers or {})}, JSON)


def _submitted_headers(submitted: Submitted) -> dict[str, str]:
    record = submitted.record
    headers = {"location": record.links.self, "x-generation-id": record.id}
    if submitted.replayed:
        headers["idempotent-replayed"] = "true"
    return headers
