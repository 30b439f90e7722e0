"""The answer that a log holds: a pure fold over its events."""

from __future__ import annotations

from typing import assert_never

from broker.events import (
    Cancelled,
    Completed,
    Created,
    Event,
    Failed,
    ReasoningDelta,
    RefusalDelta,
    Retrying,
    Started,
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
)
from broker.record import Output, ToolCall


class OutputFold:
    """Feed it every event in order; :meth:`output` is the answer so far. A ``restart`` voids what came before."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._refusal: list[str] = []
        self._calls: dict[str, tuple[str, list[str], bool]] = {}

    def apply(self, event: Event) -> None:
        """Take the next event."""
        match event:
            case TextDelta():
                self._text.append(event.text)
            case ReasoningDelta():
                self._reasoning.append(event.text)
            case RefusalDelta():
                self._refusal.append(event.text)
            case ToolCallStarted():
                self._calls[event.call_id] = (event.name, [], False)
            case ToolCallDelta():
                self._calls.setdefault(event.call_id, ("", [], False))[1].append(event.arguments)
            case ToolCallCompleted():
                self._calls[event.call_id] = (event.name, [event.arguments], True)
            case Started():
                if event.mode == "restart":
                    self._clear()
            case Created() | Retrying() | Completed() | Failed() | Cancelled():
                pass
            case _:
                assert_never(event)

    def output(self) -> Output:
        """The answer so far."""
        return Output(
            text="".join(self._text),
            reasoning="".join(self._reasoning),
            refusal="".join(self._refusal) or None,
            tool_calls=[
                ToolCall(call_id=call_id, name=name, arguments="".join(parts), complete=complete)
                for call_id, (name, parts, complete) in self._calls.items()
            ],
        )
