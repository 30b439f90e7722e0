"""``POST /v1/messages``: Anthropic's Messages over the log. Contract section 5."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.compat import TheAsking, answer_headers, read_object, streamed, submission_of, submit, target, whole
from api.formats.anthropic_answer import message_answer
from api.openapi_compat import MESSAGES
from broker.dialects.from_messages import from_messages

router = APIRouter(tags=["anthropic"])


@router.post("/v1/messages", **MESSAGES)
async def messages(asking: TheAsking) -> Response:
    """Streamed or whole; the model may be any provider's."""
    body = await read_object(asking.request)
    to = target(asking.node, body.get("model"))
    translated = from_messages(body, to.vendor)
    cursor = asking.cursor
    submitted = await submit(asking, translated, to)
    headers = answer_headers(submitted, translated.ignored)
    if translated.stream:
        submission = submission_of(submitted, translated)
        return streamed(asking.node, asking.tenant, submission, "anthropic", cursor, headers)
    return await whole(
        asking,
        submitted,
        headers,
        lambda answer, end: message_answer(answer.submission, answer.blocks, answer.provider, end),
    )
