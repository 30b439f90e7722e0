"""Numbers the blocks of an answer densely, in the order in which they first say something. Pure.

Shared by the chunk mappers: they tell what kind of text came, this gives out the events.
"""

from __future__ import annotations

from typing import TypeAlias

from broker.errors import ProviderError
from broker.events import (
    ContentEvent,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
)
from worker.providers.shapes import is_whole_json
from worker.providers.surrogates import SurrogateJoiner, mend

Prose: TypeAlias = type[TextDelta] | type[ReasoningDelta] | type[RefusalDelta]


class Blocks:
    """The open block of prose, and the number of the next block.

    After a prefix that ended in text, text goes on in the prefix's last block, everything else in new ones.
    """

    def __init__(self, prefix: list[ContentEvent]) -> None:
        self._next = max((event.block for event in prefix), default=-1) + 1
        self._kind: Prose | None = None
        self._block = 0
        self._joiner = SurrogateJoiner()
        if prefix and isinstance(prefix[-1], TextDelta):
            self._kind, self._block = TextDelta, prefix[-1].block

    def number(self) -> int:
        """The number of a new block."""
        self._next += 1
        return self._next - 1

    def prose(self, kind: Prose, text: str) -> list[ContentEvent]:
        """A piece of prose: in the open block if it is of this kind, else in a new one."""
        if not text:
            return []
        events = [] if self._kind is kind else self.close()
        if self._kind is not kind:
            self._kind, self._block = kind, self.number()
        if whole := self._joiner.feed(text):
            events.append(kind(block=self._block, text=whole))
        return events

    def close(self) -> list[ContentEvent]:
        """End the open block; what follows is in another one."""
        kind, self._kind = self._kind, None
        rest = self._joiner.flush()
        return [kind(block=self._block, text=rest)] if kind is not None and rest else []

    def reasoning_block(self) -> int:
        """The number of the open block of reasoning, or of a new one: where a signature belongs."""
        if self._kind is not ReasoningDelta:
            self._kind, self._block = ReasoningDelta, self.number()
        return self._block


class ToolDraft:
    """A tool call whose fragments are still coming. It is announced once its name is known."""

    def __init__(self, call_id: str, name: str = "") -> None:
        self.call_id = mend(call_id)
        self.name = mend(name)
        self._block: int | None = None
        self._joiner = SurrogateJoiner()
        self._parts: list[str] = []
        self._waiting = ""

    def feed(self, fragment: str, blocks: Blocks) -> list[ContentEvent]:
        """A fragment of the arguments, which may be empty: the first call with a name announces the tool call."""
        if not self.name:
            self._waiting += fragment
            return []
        events: list[ContentEvent] = []
        if self._block is None:
            events += blocks.close()
            self._block = blocks.number()
            events.append(ToolCallStarted(block=self._block, call_id=self.call_id, name=self.name))
            fragment, self._waiting = self._waiting + fragment, ""
        return events + self._say(self._joiner.feed(fragment))

    def complete(self, *, cut_short: bool = False) -> list[ContentEvent]:
        """End the call; no arguments at all mean ``{}``.

        Raises :class:`ProviderError` ``provider_malformed`` if it is not whole, JSON and named. ``cut_short``: the
        answer ended before its own end, so a call that is not whole is left open instead.
        """
        events = [] if self._block is None else self._say(self._joiner.flush())
        arguments = "".join(self._parts) or ("" if cut_short else "{}")
        if self._block is not None and is_whole_json(arguments):
            done = ToolCallCompleted(block=self._block, call_id=self.call_id, name=self.name, arguments=arguments)
            return [*events, done]
        if cut_short:
            return events
        raise malformed(
            f"the tool call {self.name!r} is not whole: its arguments are not valid JSON, or it has no name"
        )

    def _say(self, text: str) -> list[ContentEvent]:
        if not text or self._block is None:
            return []
        self._parts.append(text)
        return [ToolCallDelta(block=self._block, call_id=self.call_id, arguments=text)]


def malformed(message: str) -> ProviderError:
    """What the provider sent can't be trusted; another try may go well."""
    return ProviderError(message, code="provider_malformed", retryable=True)
