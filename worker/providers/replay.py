"""What an answer says beyond what has been heard of it, when all of it is said again. Pure.

The same events upstream make the same blocks, but a log holds their texts cut in other places: so they are compared
block by block and letter by letter, not event by event.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from broker.errors import ProviderError
from broker.events import (
    DELTA_TYPES,
    ContentEvent,
    ReasoningDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
)
from broker.merge import delta_text


@dataclass(slots=True)
class _Heard:
    """What is known of one block and has not been said again yet."""

    kind: type[ContentEvent]
    parts: list[str]
    started: bool = False
    completed: bool = False
    sealed: int = 0
    """Signatures and opaque pieces."""
    text: str = ""
    at: int = 0
    """How much of the text has been said again."""


class Replay:
    """Feed it the answer from its beginning; it passes on what ``heard`` does not hold."""

    def __init__(self, heard: Iterable[ContentEvent]) -> None:
        self._blocks: dict[int, _Heard] = {}
        for event in heard:
            self._note(event)
        for block in self._blocks.values():
            block.text = "".join(block.parts)

    def rest(self, event: ContentEvent) -> ContentEvent | None:
        """The event, as far as it is new. Raises :class:`ProviderError` ``provider_forgot`` for another answer's."""
        block = self._blocks.get(event.block)
        if block is None:
            return event
        if _kind(event) is not block.kind:
            raise forgotten("what it says now is not what it said before")
        if isinstance(event, ToolCallStarted):
            block.started, known = False, block.started
            return None if known else event
        if isinstance(event, ToolCallCompleted):
            block.completed, known = False, block.completed
            return None if known else event
        if isinstance(event, ReasoningDelta) and (event.signature is not None or event.opaque is not None):
            known, block.sealed = block.sealed > 0, max(block.sealed - 1, 0)
            return None if known else event
        return self._unheard(event, block)

    def end(self) -> None:
        """All has been said again. Raises ``provider_forgot`` where what was heard is more than that."""
        for block in self._blocks.values():
            if block.started or block.completed or block.sealed or block.at < len(block.text):
                raise forgotten("it says less than it said before")

    def _unheard(self, event: ContentEvent, block: _Heard) -> ContentEvent | None:
        if not isinstance(event, DELTA_TYPES):
            return event
        text = delta_text(event)
        known = block.text[block.at : block.at + len(text)]
        if not text.startswith(known):
            raise forgotten("what it says now is not what it said before")
        block.at += len(known)
        if not known:
            return event
        if len(known) == len(text):
            return None
        name = "arguments" if isinstance(event, ToolCallDelta) else "text"
        return msgspec.structs.replace(event, **{name: text[len(known) :]})

    def _note(self, event: ContentEvent) -> None:
        block = self._blocks.setdefault(event.block, _Heard(_kind(event), []))
        if isinstance(event, ToolCallStarted):
            block.started = True
        elif isinstance(event, ToolCallCompleted):
            block.completed = True
        elif isinstance(event, ReasoningDelta) and (event.signature is not None or event.opaque is not None):
            block.sealed += 1
        else:
            block.parts.append(delta_text(event))


def forgotten(message: str) -> ProviderError:
    """The answer can't be listened to any further; only asking anew helps."""
    return ProviderError(message, code="provider_forgot")


def _kind(event: ContentEvent) -> type[ContentEvent]:
    return ToolCallStarted if isinstance(event, ToolCallDelta | ToolCallCompleted) else type(event)
