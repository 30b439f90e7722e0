"""Output items that a request to ``/v1/responses`` only refers to, looked up in the answers they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.door import Door
from api.formats.response_items import item_id, place_of_item
from broker.answer import Answer
from broker.dialects.from_responses import references
from broker.dialects.response_turns import Referenced
from broker.errors import GenerationNotFound, InvalidRequest, LogExpired

MAX_ANSWERS = 64
"""Each costs a look at a whole log."""


async def referenced(broker: Door, tenant: str, body: Mapping[str, Any]) -> dict[str, Referenced]:
    """The items by their ids; what is not there, or belongs to an answer that has not ended, is left out.

    Raises :class:`InvalidRequest` for items of more than :data:`MAX_ANSWERS` answers.
    """
    places = {name: place for name in references(body) if (place := place_of_item(name)) is not None}
    generations = {place.generation for place in places.values()}
    if len(generations) > MAX_ANSWERS:
        raise InvalidRequest(f"items of more than {MAX_ANSWERS} responses", field="input")
    answers = {generation: await _answer(broker, tenant, generation) for generation in generations}
    found: dict[str, Referenced] = {}
    for name, place in places.items():
        answer = answers[place.generation]
        blocks = answer.blocks if answer is not None and answer.terminal is not None else []
        if answer is None or place.output_index >= len(blocks):
            continue
        block = blocks[place.output_index]
        if item_id(block.kind, answer.submission, answer.attempt, place.output_index) == name:
            found[name] = Referenced(block, answer.provider)
    return found


async def _answer(broker: Door, tenant: str, generation: str) -> Answer | None:
    try:
        return await broker.answer(generation, tenant=tenant)
    except (GenerationNotFound, LogExpired):
        return None
