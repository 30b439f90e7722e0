"""``POST /v1/chat/completions``: OpenAI's Chat Completions over the log. Contract section 5."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.compat import TheAsking, answer_headers, read_object, streamed, submission_of, submit, target, whole
from api.formats.openai_chat_answer import chat_answer
from api.openapi_compat import CHAT
from broker.dialects.from_chat import from_chat

router = APIRouter(tags=["openai"])


@router.post("/v1/chat/completions", **CHAT)
async def chat_completions(asking: TheAsking) -> Response:
    """Streamed or whole; the model may be any provider's."""
    body = await read_object(asking.request)
    to = target(asking.node, body.get("model"))
    translated = from_chat(body, to.vendor)
    cursor = asking.cursor
    submitted = await submit(asking, translated, to)
    headers = answer_headers(submitted, translated.ignored)
    if translated.stream:
        submission = submission_of(submitted, translated)
        return streamed(asking.node, asking.tenant, submission, "openai.chat", cursor, headers)
    return await whole(
        asking,
        submitted,
        headers,
        lambda answer, end: chat_answer(answer.submission, answer.blocks, answer.provider, end),
    )
