"""``/v1/responses``: OpenAI's Responses over the log: make, look, stream, cancel, delete. Contract section 5."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response

from api.auth import Tenant
from api.compat import GONE as CLIENT_GONE
from api.compat import (
    JSON,
    Asking,
    Target,
    TheAsking,
    answer_headers,
    completed_of,
    read_object,
    streamed,
    submission_of,
    submit,
    target,
    when_whole,
)
from api.compat_references import referenced
from api.formats.openai_responses import ResponsesFold
from api.formats.response_resource import response_resource
from api.formats.response_sequence import SequenceSearch
from api.node import Node, TheNode
from api.openapi_compat import RESPONSE_CREATE, RESPONSE_DELETED, RESPONSE_GET, RESPONSE_LOOK
from api.waiting import CANCEL_WAIT_S, wait_for_end
from broker.answer import Answer
from broker.dialects.from_responses import from_responses
from broker.dialects.response_turns import Previous
from broker.dialects.translated import Translated
from broker.errors import GenerationNotFound, InvalidRequest, LogExpired
from broker.position import Cursor, parse_cursor
from broker.request import StoredRequest

router = APIRouter(prefix="/v1/responses", tags=["openai"])

FORMAT = "openai.responses"
UNSTORED_S = 300
"""How long an answer that is not to be stored stays after its end: so long it can be resumed."""
_PREFIX = "resp_"

ResponseId = Annotated[str, Path(description="resp_…")]


@router.post("", **RESPONSE_CREATE)
async def create(asking: TheAsking) -> Response:
    """Streamed, whole, or in the background; the model may be any provider's."""
    body = await read_object(asking.request)
    to = _target(asking.node, body.get("model"))
    previous = await _previous(asking, body.get("previous_response_id"))
    items = await referenced(asking.node.broker, asking.tenant, body)
    translated = from_responses(body, to.vendor, previous, items)
    translated = _routed(translated, to)
    cursor = asking.cursor
    submitted = await submit(asking, translated, to)
    headers = answer_headers(submitted, translated.ignored)
    submission = submission_of(submitted, translated)
    if translated.stream:
        return streamed(asking.node, asking.tenant, submission, FORMAT, cursor, headers)
    if translated.background:
        return _resource(await asking.node.broker.answer(submission.id, tenant=asking.tenant), headers)
    answer = await when_whole(asking, submission.id)
    if answer is None:
        return Response(status_code=CLIENT_GONE)
    completed_of(answer, headers)
    return _resource(answer, headers)


def _target(node: Node, model: object) -> Target:
    """OpenAI's own models are asked over the API in whose words the request is."""
    to = target(node, model)
    if to.vendor != "openai.chat":
        return to
    return Target("openai-responses", to.model, node.models.vendor("openai-responses"))


def _routed(translated: Translated, to: Target) -> Translated:
    request = translated.request
    wire = request.wire
    changes: dict[str, Any] = {}
    if wire is not None:
        changes["wire"] = wire.model_copy(update={"target": to.full})
    if to.vendor == "openai.responses" and (translated.background or not translated.store):
        if translated.background and not translated.store:
            raise InvalidRequest(
                "store: the provider of this model stores what it does in the background", field="store"
            )
        # Not stored also means: not in the background where the provider's settings would have it so.
        changes["provider_options"] = {**(request.provider_options or {}), "background": translated.background}
    if not translated.store and request.retention_s is None:
        changes["retention_s"] = UNSTORED_S
    given: StoredRequest = request.model_copy(update=changes)
    return Translated(given, translated.ignored, translated.stream, translated.background, translated.store)


async def _previous(asking: Asking, response: object) -> Previous | None:
    if response is None:
        return None
    try:
        generation = _generation(response if isinstance(response, str) else "")
        answer = await asking.node.broker.answer(generation, tenant=asking.tenant)
    except (GenerationNotFound, LogExpired):
        raise InvalidRequest("there is no such response any more", field="previous_response_id") from None
    request = answer.submission.request
    if request is None or answer.terminal is None:
        raise InvalidRequest("that response has not ended", field="previous_response_id")
    return Previous(request, answer.blocks, answer.provider)


@router.get("/{response_id}", **RESPONSE_GET)
async def retrieve(
    request: Request,
    node: TheNode,
    tenant: Tenant,
    response_id: ResponseId,
    stream: Annotated[bool, Query(description="The events instead of the resource")] = False,
    starting_after: Annotated[
        int | None, Query(ge=0, description="With stream: only events with a later sequence_number")
    ] = None,
) -> Response:
    """The resource at this moment, or its events from the first or from any later one on."""
    generation = _generation(response_id)
    if not stream:
        return _resource(await node.broker.answer(generation, tenant=tenant), {"x-generation-id": generation})
    return await _events(request, node, tenant, generation, starting_after)


async def _events(request: Request, node: Node, tenant: str, generation: str, starting_after: int | None) -> Response:
    stat = await node.broker.stat(generation, tenant=tenant)
    submission = await node.broker.submission(generation, tenant=tenant)
    cursor = parse_cursor(request.headers.get("last-event-id"))
    if starting_after is not None and cursor == Cursor():
        search = SequenceSearch(ResponsesFold(submission), starting_after)
        async for batch in node.broker.prefix(generation, stat.top):
            search.feed(batch.entries)
        if search.cursor is None:
            raise InvalidRequest(f"there is no event {starting_after} yet", field="starting_after")
        cursor = search.cursor
    if stat.ended and cursor == Cursor(stat.top):
        # EventSource would come again and again; whoever asks by number expects a stream, if an empty one.
        return Response(status_code=204 if starting_after is None else 200, media_type="text/event-stream")
    return streamed(node, tenant, submission, FORMAT, cursor, {"x-generation-id": generation})


@router.post("/{response_id}/cancel", **RESPONSE_LOOK)
async def cancel(request: Request, node: TheNode, tenant: Tenant, response_id: ResponseId) -> Response:
    """Cancel, and the resource as it stands a moment later; saying it twice does no harm."""
    generation = _generation(response_id)
    record = await node.broker.cancel(generation, tenant=tenant)
    if not record.ended:
        await wait_for_end(node, request, generation, tenant, CANCEL_WAIT_S, output=False)
    return _resource(await node.broker.answer(generation, tenant=tenant), {"x-generation-id": generation})


@router.delete("/{response_id}", **RESPONSE_DELETED)
async def delete(node: TheNode, tenant: Tenant, response_id: ResponseId) -> Response:
    """End it if it has not ended, and erase it."""
    await node.broker.delete(_generation(response_id), tenant=tenant)
    body = {"id": response_id, "object": "response", "deleted": True}
    return Response(msgspec.json.encode(body), media_type=JSON)


def _generation(response: str) -> str:
    """Raises ``GenerationNotFound`` for what is no id of ours."""
    rest = response.removeprefix(_PREFIX)
    if rest == response or not rest.isalnum() or not rest.isascii() or len(rest) > 64:
        raise GenerationNotFound(f"there is no response {response[:80]!r}")
    return f"gen_{rest}"


def _resource(answer: Answer, headers: dict[str, str]) -> Response:
    body = response_resource(
        answer.submission,
        answer.blocks,
        provider=answer.provider,
        attempt=answer.attempt,
        status=answer.record.status,
        terminal=answer.terminal,
    )
    return Response(msgspec.json.encode(body), 200, headers, JSON)
