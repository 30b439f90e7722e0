"""How an owner begins: from the start, from the beginning that stands in the log, or with what goes on upstream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from broker.events import CONTENT_TYPES, ContentEvent, Mode, Started
from broker.log import StreamLog
from broker.position import START, Position
from broker.scripts import Claim
from worker.calls import can_be_prefix
from worker.providers.base import BackgroundProvider, Provider


class Takeover(NamedTuple):
    """The first call of an owner, and the boundary before it."""

    mode: Mode = "restart"
    prefix: Sequence[ContentEvent] = ()
    """What stands in the log."""
    upstream: str = ""
    """The id of an answer that goes on."""


async def take_over(log: StreamLog, generation: str, claim: Claim, provider: Provider | None, model: str) -> Takeover:
    """``continue`` where nothing need be asked, or where it was asked for and model and log allow it.

    That is plain text only, nothing half open; an answer that goes on upstream may have said anything. Raises what
    :meth:`broker.log.StreamLog.entries` raises.
    """
    if claim.upstream is not None and isinstance(provider, BackgroundProvider):
        content, attempt = await _content(log, generation, claim.top)
        if attempt < claim.upstream.attempt:
            # What stands is another answer's, of which this one was to be the successor.
            return Takeover("restart", (), claim.upstream.id)
        return Takeover("continue", content, claim.upstream.id)
    if claim.attempt == 1 or claim.on_worker_loss != "continue" or provider is None or not provider.can_continue(model):
        return Takeover()
    content, _ = await _content(log, generation, claim.top)
    return Takeover("continue", content) if can_be_prefix(content) else Takeover()


async def _content(log: StreamLog, generation: str, top: Position) -> tuple[list[ContentEvent], int]:
    """The content that stands in the log up to ``top``, and the attempt that voided what was before it."""
    content: list[ContentEvent] = []
    attempt = 0
    async for batch in log.entries(generation, START, top):
        for entry in batch:
            event = entry.event
            if isinstance(event, Started) and event.mode == "restart":
                content.clear()
                attempt = event.attempt
            elif isinstance(event, CONTENT_TYPES):
                content.append(event)
    return content, attempt
