"""The message that a client of the AI SDK builds from chunks, as strict as the original: written from wires.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_FINISH = ("stop", "length", "content-filter", "tool-calls", "error", "interrupted", "other")


@dataclass
class Part:
    """``kind``: text, reasoning or tool; ``state``: streaming, done, available or error."""

    kind: str
    text: str = ""
    state: str = "streaming"
    metadata: dict[str, Any] | None = None
    call_id: str = ""
    name: str = ""
    input: Any = None


@dataclass
class Message:
    """Raises ``KeyError`` or ``AssertionError`` where useChat dies."""

    id: str | None = None
    parts: list[Part] = field(default_factory=list[Part])
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    marks: list[str] = field(default_factory=list[str])
    """Chunks that are no part: steps, errors, aborts, the finish."""
    finish_reason: str | None = None
    error: str | None = None
    _open: dict[tuple[str, str], Part] = field(default_factory=dict[tuple[str, str], Part])

    def take(self, chunk: dict[str, Any]) -> None:
        """The next chunk."""
        kind: str = chunk["type"]
        family, _, act = kind.rpartition("-")
        if kind.startswith("tool-input-"):
            self._call(chunk, act)
        elif family in ("text", "reasoning"):
            self._prose(chunk, family, act)
        else:
            self._mark(chunk, kind)

    def _prose(self, chunk: dict[str, Any], family: str, act: str) -> None:
        key = family, chunk["id"]
        if act == "start":
            assert key not in self._open
            self._open[key] = Part(family)
            self.parts.append(self._open[key])
        part = self._open[key]
        part.metadata = chunk.get("providerMetadata") or part.metadata
        if act == "delta":
            part.text += chunk["delta"]
        elif act == "end":
            self._open.pop(key).state = "done"

    def _call(self, chunk: dict[str, Any], act: str) -> None:
        key = "tool", chunk["toolCallId"]
        if act == "start":
            assert key not in self._open
            self._open[key] = Part("tool", call_id=chunk["toolCallId"], name=chunk["toolName"])
            self.parts.append(self._open[key])
        elif act == "delta":
            self._open[key].text += chunk["inputTextDelta"]
        else:
            assert act in ("available", "error")
            part = self._open.pop(key)
            part.state, part.input = act, chunk["input"]
            assert part.name == chunk["toolName"]
            assert act == "available" or chunk["errorText"]

    def _mark(self, chunk: dict[str, Any], kind: str) -> None:
        self.marks.append(kind)
        self.metadata |= chunk.get("messageMetadata") or {}
        match kind:
            case "start":
                self.id = chunk["messageId"]
            case "reset-step":
                assert "start-step" in self.marks
                self.parts, self._open = [], {}
            case "error":
                self.error = chunk["errorText"]
            case "finish":
                assert chunk["finishReason"] in _FINISH
                self.finish_reason = chunk["finishReason"]
            case _:
                assert kind in ("start-step", "finish-step", "message-metadata", "abort")
