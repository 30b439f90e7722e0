"""``POST /v1/messages``: Anthropic's Messages over the log. Contract section 5."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Response

from api.compat import TheAsking, ask
from api.formats.anthropic_answer import message_answer
from api.openapi_compat import MESSAGES
from broker.dialects.from_messages import BETA_HEADER, from_messages

router = APIRouter(tags=["anthropic"])


@router.post("/v1/messages", **MESSAGES)
async def messages(asking: TheAsking) -> Response:
    """Streamed or whole; the model may be any provider's."""
    betas = ", ".join(asking.request.headers.getlist(BETA_HEADER))
    return await ask(asking, partial(from_messages, betas=betas), "anthropic", message_answer)
