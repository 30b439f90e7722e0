"""What the endpoints in other vendors' dialects have in common: read, translate, submit, then stream or wait."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, cast

import msgspec
from fastapi import Depends, Request, Response

from api.auth import Tenant
from api.door import Submitted
from api.errors import AnswerFailed, Draining, MalformedBody
from api.formats import open_format
from api.formats.folded import Folded
from api.handover import HandOver
from api.node import Node, TheNode
from api.params import IdempotencyKey
from api.stream_response import EventStream
from api.streams import open_source
from api.waiting import MAX_WAIT_S, wait_for_end
from broker.answer import Answer
from broker.content import Block
from broker.dialects.check import check
from broker.dialects.translated import Translated
from broker.dialects.vendors import Vendor
from broker.errors import InvalidRequest, ResumeNeedsKey
from broker.events import Cancelled, Completed, Failed
from broker.position import Cursor, parse_cursor
from broker.submission import Submission

JSON = "application/json"
GONE = 499
"""The client went away while it waited (nginx's own word for it); nobody reads this."""


@dataclass(frozen=True, slots=True)
class Asking:
    """One POST in another dialect: who asks whom, and what is known beside the body."""

    node: Node
    request: Request
    tenant: str
    key: str | None

    @property
    def cursor(self) -> Cursor:
        """Where a client stands that asks again. Raises ``InvalidPosition``, and ``ResumeNeedsKey`` without a key."""
        cursor = parse_cursor(self.request.headers.get("last-event-id"))
        if cursor != Cursor() and self.key is None:
            raise ResumeNeedsKey
        return cursor

    @property
    def retry(self) -> int | None:
        """How often an SDK has tried before; None = this client does not say."""
        tries = self.request.headers.get("x-stainless-retry-count", "")
        return int(tries) if tries.isdecimal() and len(tries) < 4 else None


async def _asking(request: Request, node: TheNode, tenant: Tenant, idempotency_key: IdempotencyKey = None) -> Asking:
    return Asking(node, request, tenant, idempotency_key)


TheAsking = Annotated[Asking, Depends(_asking)]


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object in the body, whatever its Content-Type says (wires.md R8). Raises ``MalformedBody``."""
    try:
        value: object = msgspec.json.decode(await request.body())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)[:200]
        raise MalformedBody(f"the body is not valid JSON: {why}") from None
    if not isinstance(value, dict):
        raise MalformedBody("the body is not a JSON object")
    return cast("dict[str, Any]", value)


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask: the provider and its model, and what that provider speaks."""

    provider: str
    model: str
    vendor: Vendor

    @property
    def full(self) -> str:
        """``provider/model``."""
        return f"{self.provider}/{self.model}"


def target(node: Node, model: object) -> Target:
    """Raises ``UnknownModel``, or ``InvalidRequest`` where the body has none."""
    if not isinstance(model, str) or not model:
        raise InvalidRequest("model: must be a non-empty string", field="model")
    provider, name = node.models.resolve(model)
    return Target(provider, name, node.models.vendor(provider))


async def submit(asking: Asking, translated: Translated, to: Target) -> Submitted:
    """Submit what was asked, if its provider can be told so. Raises what a submit raises, and ``InvalidRequest``."""
    node = asking.node
    check(translated.request, to.vendor, to.model)
    resumes = asking.key is not None and asking.cursor != Cursor()
    await (node.submit_limit.check if resumes else node.submit_limit.charge)(asking.tenant, asking.request)
    submitted = await node.broker.submit(
        translated.request, tenant=asking.tenant, idempotency_key=asking.key, retry=asking.retry
    )
    if not submitted.replayed:
        node.metrics.submits += 1
        if resumes:
            await node.submit_limit.count(asking.tenant, asking.request)
    return submitted


def answer_headers(submitted: Submitted, ignored: tuple[str, ...] = ()) -> dict[str, str]:
    """What every answer of these endpoints says of its generation; SDKs show the request ids."""
    generation = submitted.record.id
    headers = {"x-generation-id": generation, "x-request-id": generation, "request-id": generation}
    if ignored:
        headers["x-rejoinder-ignored"] = ", ".join(ignored)
    if submitted.replayed:
        headers["idempotent-replayed"] = "true"
    return headers


def submission_of(submitted: Submitted, translated: Translated) -> Submission:
    """What has just been submitted."""
    record = submitted.record
    return Submission(record.id, record.model, record.created_at, record.metadata, translated.request)


def streamed(
    node: Node, tenant: str, submission: Submission, name: str, cursor: Cursor, headers: dict[str, str]
) -> Response:
    """The answer as a stream in a format with a memory."""
    fmt = open_format(name, cursor, merged=True)
    if isinstance(fmt, Folded):
        fmt.bind(submission)
    source = open_source(node.broker, submission.id, cursor, fmt, tenant=tenant, points=node.points)
    raw = [(key.encode(), value.encode()) for key, value in headers.items()]
    return HandOver(EventStream(source, fmt, node.terms, headers=raw))


async def when_whole(asking: Asking, generation: str) -> Answer | None:
    """The answer once it has ended; None = the client has gone, and the generation goes on without it.

    Raises ``Draining`` when the node leaves: the client's retry joins the generation elsewhere.
    """
    node, request, tenant = asking.node, asking.request, asking.tenant
    while True:
        record = await wait_for_end(node, request, generation, tenant, MAX_WAIT_S, output=False)
        if record.ended:
            return await node.broker.answer(generation, tenant=tenant)
        if await request.is_disconnected():
            return None
        if node.drain.begun.is_set():
            raise Draining


Render: TypeAlias = Callable[[Submission, Sequence[Block], str, Completed], dict[str, Any]]
"""The whole answer in a dialect, of what was asked, the blocks, who gave them, and the end."""


async def ask(
    asking: Asking, read: Callable[[dict[str, Any], Vendor], Translated], fmt: str, render: Render
) -> Response:
    """What a POST in a dialect is answered: a stream in ``fmt``, or the whole answer as ``render`` has it.

    Raises what :func:`submit` and :func:`whole` raise, and what ``read`` does.
    """
    body = await read_object(asking.request)
    to = target(asking.node, body.get("model"))
    translated = read(body, to.vendor)
    cursor = asking.cursor
    submitted = await submit(asking, translated, to)
    headers = answer_headers(submitted, translated.ignored)
    if translated.stream:
        return streamed(asking.node, asking.tenant, submission_of(submitted, translated), fmt, cursor, headers)
    return await whole(asking, submitted, headers, render)


async def whole(asking: Asking, submitted: Submitted, headers: dict[str, str], render: Render) -> Response:
    """The whole answer as JSON. Raises :class:`AnswerFailed` where there is none."""
    answer = await when_whole(asking, submitted.record.id)
    if answer is None:
        return Response(status_code=GONE)
    completed = completed_of(answer, headers)
    body = render(answer.submission, answer.blocks, answer.provider, completed)
    return Response(msgspec.json.encode(body), 200, headers, JSON)


def completed_of(answer: Answer, headers: Mapping[str, str]) -> Completed:
    """How a plain request's answer ended. Raises :class:`AnswerFailed` where it is not one to go on with.

    SDKs raise for a status and try again after some; what only stands in a body is taken for an answer, an empty one.
    """
    match answer.terminal:
        case Completed() as completed:
            return completed
        case Failed() as failed:
            raise AnswerFailed.of(failed.error, headers)
        case Cancelled() as cancelled:
            message = f"the generation was cancelled ({cancelled.reason})"
            raise AnswerFailed(message, headers, code="cancelled", status=409)
        case None:
            raise AnswerFailed("the generation has no end", headers, code="log_lost", status=503)
