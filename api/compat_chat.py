"""``POST /v1/chat/completions``: OpenAI's Chat Completions over the log. Contract section 5."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.compat import TheAsking, ask
from api.formats.openai_chat_answer import chat_answer
from api.openapi_compat import CHAT
from broker.dialects.from_chat import from_chat

router = APIRouter(tags=["openai"])


@router.post("/v1/chat/completions", **CHAT)
async def chat_completions(asking: TheAsking) -> Response:
    """Streamed or whole; the model may be any provider's."""
    return await ask(asking, from_chat, "openai.chat", chat_answer)
