"""The Vercel AI SDK's routes: ``/v1/ui/chat``, for useChat with its own transports. Contract section 5; wires.md.

DefaultChatTransport comes back by the chat's id and takes the whole message anew; WorkflowChatTransport comes back by
the run's id, which is the generation's, and says how many chunks it has. Both use the same path.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.convertors import Convertor, register_url_convertor

from api.auth import Tenant
from api.compat import TheAsking, answer_headers, read_object, submission_of, submit, target
from api.formats.ai_sdk import AiSdkFold
from api.formats.ai_sdk_index import ChunkIndex
from api.formats.folded import Folded
from api.handover import HandOver
from api.node import Node, TheNode
from api.openapi_compat import UI_CHAT, UI_STOP, UI_STREAM
from api.stream_response import EventStream
from api.streams import LOOKUP_S, open_source
from broker.dialects.ui import from_ui
from broker.errors import GenerationNotFound, InvalidPosition, LogExpired, LogUnavailable
from broker.jobs import life_ms
from broker.position import START, Cursor
from broker.submission import Submission
from broker.tail_items import Batch, Live


class _Anything(Convertor[str]):
    """As the framework's ``path``, and line breaks too."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        """As it stands in the path."""
        return value

    def to_string(self, value: str) -> str:
        """As it stands in the path."""
        return value


register_url_convertor("anything", _Anything())

router = APIRouter(prefix="/v1/ui/chat", tags=["ai-sdk"])

# The client writes it with encodeURIComponent: it may hold anything, a slash too.
Chat = Annotated[str, Path(min_length=1, max_length=512, description="The chat's id, or a run's")]

_INDEX = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_RUN = re.compile(r"gen_[A-Za-z0-9]{1,124}", re.ASCII)
_FIELD_NAME = re.compile(r"[\x21-\x2b\x2d-\x7e]{1,64}", re.ASCII)
_MAX_NAMED = 32
REPAIR_S = 2.0
"""How long to wait for chunks that a client has and a log, which lost its tail, has not again yet."""


@router.post("", **UI_CHAT)
async def ask(asking: TheAsking) -> Response:
    """Answer the last message of a chat: the UI message stream at once."""
    node, tenant = asking.node, asking.tenant
    body = await read_object(asking.request)
    to = target(node, body.get("model"))
    translated = from_ui(body)
    cursor = asking.cursor
    submitted = await submit(asking, translated, to)
    submission = submission_of(submitted, translated)
    chat = submission.wire.echo["chat"] if submission.wire else None
    if chat is not None:
        await node.broker.chats.begin(tenant, chat, submission.id, life_ms(translated.request, node.settings))
    headers = answer_headers(submitted, _named(translated.ignored))
    return _stream(node, tenant, submission.id, cursor=cursor, submission=submission, headers=headers)


@router.get("/{chat:anything}/stream", **UI_STREAM)
async def stream(
    node: TheNode,
    tenant: Tenant,
    chat: Chat,
    start_index: Annotated[
        str | None,
        Query(
            alias="startIndex",
            description="The first chunk wanted; negative = counted from the end",
            json_schema_extra={"pattern": r"^-?[0-9]{1,9}$"},
        ),
    ] = None,
) -> Response:
    """The chat's present answer from its first chunk on, or a run's from the n-th; 204 when nobody waits for one."""
    if start_index is not None:
        return await _resumed(node, tenant, chat, _number(start_index))
    run = await node.broker.chats.current(tenant, chat)
    if run is None or run.settled:
        return Response(status_code=204)
    try:
        await node.broker.stat(run.generation, tenant=tenant)
    except (GenerationNotFound, LogExpired):
        return Response(status_code=204)
    return _stream(node, tenant, run.generation)


@router.post("/{chat:anything}/stop", **UI_STOP)
async def stop(request: Request, node: TheNode, tenant: Tenant, chat: Chat) -> Response:
    """Cancel the chat's present answer; a stop that was meant for an earlier one does nothing."""
    meant = (await read_object(request)).get("activeStreamId") if await request.body() else None
    run = await node.broker.chats.current(tenant, chat)
    generation = run.generation if run is not None else chat if _RUN.fullmatch(chat) else None
    if generation is not None and meant in (None, generation):
        with contextlib.suppress(GenerationNotFound):
            await node.broker.cancel(generation, tenant=tenant)
            await node.broker.chats.settle(generation)
    return Response(b'{"success":true}', media_type="application/json")


# -- coming back by a number of chunks --------------------------------------------------------------------------------


async def _resumed(node: Node, tenant: str, name: str, wanted: int) -> Response:
    generation = await _run_of(node, tenant, name)
    if generation is None:
        return _nothing_runs()
    submission = await node.broker.submission(generation, tenant=tenant)
    index = ChunkIndex(submission, wanted)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(REPAIR_S):
            await _find(node, tenant, generation, index, wanted)
    cursor = index.cursor()
    if cursor is None:
        raise InvalidPosition(f"there are only {index.count} chunks", field="startIndex")
    headers = {"x-workflow-stream-tail-index": str(index.count - 1)} if wanted < 0 else {}
    return _stream(node, tenant, generation, cursor=cursor, submission=submission, headers=headers)


def _nothing_runs() -> Response:
    """Nothing to come back to, said so that WorkflowChatTransport is content: it asks again at once after a 204."""
    headers = {name.decode(): value.decode() for name, value in AiSdkFold.headers}
    return Response(b'data: {"type":"finish"}\n\ndata: [DONE]\n\n', headers=headers, media_type=AiSdkFold.media_type)


async def _run_of(node: Node, tenant: str, name: str) -> str | None:
    """The generation by its own id, or, on a page that has just been opened, by the chat's. Raises ``LogExpired``."""
    if _RUN.fullmatch(name):
        with contextlib.suppress(GenerationNotFound):
            await node.broker.stat(name, tenant=tenant)
            return name
    run = await node.broker.chats.current(tenant, name)
    if run is None and _RUN.fullmatch(name):
        raise GenerationNotFound
    return None if run is None or run.settled else run.generation


async def _find(node: Node, tenant: str, generation: str, index: ChunkIndex, wanted: int) -> None:
    async with aclosing(node.broker.tail(generation, START, tenant=tenant, replay="exact")) as items:
        async for item in items:
            found = index.take(item.entries) if isinstance(item, Batch) else False
            # Counted from the end, the tail as it is now is meant; else what was lost of it may come again.
            if found or (isinstance(item, Live) and wanted < 0) or (index.count and index.count == wanted):
                return


def _number(text: str) -> int:
    if not _INDEX.fullmatch(text):
        raise InvalidPosition("startIndex must be a whole number", field="startIndex")
    return int(text)


# -- the stream -------------------------------------------------------------------------------------------------------


def _stream(
    node: Node,
    tenant: str,
    generation: str,
    *,
    cursor: Cursor | None = None,
    submission: Submission | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    at = cursor or Cursor()
    reader = Folded(AiSdkFold, at, merged=False, submission=submission)
    source = open_source(node.broker, generation, at, reader, tenant=tenant, points=node.points)
    said = {"x-generation-id": generation, "x-workflow-run-id": generation, **(headers or {})}
    raw = [(name.encode(), value.encode()) for name, value in said.items()]

    async def settle() -> None:
        # Without the note the answer is shown once more to a page that comes back: no reason to keep this one waiting.
        with contextlib.suppress(LogUnavailable, TimeoutError):
            async with asyncio.timeout(LOOKUP_S):
                await node.broker.chats.settle(generation)

    return HandOver(EventStream(source, reader, node.terms, headers=raw, delivered=settle))


def _named(ignored: tuple[str, ...]) -> tuple[str, ...]:
    """An app's own fields, as far as their names fit into a header."""
    return tuple(name for name in ignored if _FIELD_NAME.fullmatch(name))[:_MAX_NAMED]
