"""What a viewer knows about a generation while it watches: counts, speed, nodes. Pure: time comes in as an argument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rejoinder.sanitize import one_line
from rejoinder.stream_event import RESET, StreamEvent

_CHARS_PER_TOKEN = 4
_RATE_AFTER_S = 0.5
_CONTENT = frozenset({"text.delta", "reasoning.delta", "refusal.delta", "tool_call.delta"})


@dataclass(slots=True)
class Progress:
    """Feed it every event and every connection; it words the status line and the summary."""

    generation: str
    asked_at: float | None = None
    """When the request left, by the viewer's clock; ``None`` when somebody else submitted it."""
    nodes: list[str] = field(default_factory=list[str])
    reconnects: int = 0
    connected: bool = False
    attempt: int = 0
    status: str = "connecting"
    entries: int = 0
    characters: int = 0
    ttft_s: float | None = None
    end: StreamEvent | None = None
    _live_at: float | None = None
    _live_tokens: int = 0

    @property
    def tokens(self) -> int:
        """The provider's count once it is known; until then an estimate from what has come."""
        counted = self._end_field("usage").get("output_tokens")
        return counted if isinstance(counted, int) else max(self.entries, self.characters // _CHARS_PER_TOKEN)

    def opened(self, node: str) -> None:
        """A connection answered."""
        self.reconnects += 1 if self.nodes else 0
        self.nodes.append(node or "?")
        self.connected = True

    def lost(self) -> None:
        """The connection is gone."""
        self.connected = False
        self._live_at = None

    def take(self, event: StreamEvent, now: float) -> None:
        """Count one event."""
        if event.type in _CONTENT:
            if self.ttft_s is None and self.asked_at is not None:
                self.ttft_s = now - self.asked_at
            self.entries += event.merged
            self.characters += len(event.text) or len(str(event.data.get("arguments", "")))
            self.status = "streaming"
        elif event.type == "generation.started":
            self.attempt = int(event.data.get("attempt", 0))
            self.status = "started"
            if event.data.get("mode") == "restart":
                self._void(now)
        elif event.type == "generation.created":
            self.status = "queued"
        elif event.type == "stream.live":
            self._live_at, self._live_tokens = now, self.tokens
        elif event.type == RESET:
            self._void(now)
        elif event.terminal:
            self.end = event
            self.status = event.type.removeprefix("generation.")

    def status_line(self, now: float) -> str:
        """One line for while it runs."""
        parts = [self.status if self.connected or not self.nodes else "reconnecting"]
        if self.entries:
            parts.append(f"~{self.tokens} tokens")
        if self._live_at is not None and now - self._live_at > _RATE_AFTER_S and self.tokens > self._live_tokens:
            parts.append(f"{(self.tokens - self._live_tokens) / (now - self._live_at):.1f}/s")
        if self.ttft_s is not None:
            parts.append(f"first token {self.ttft_s:.2f} s")
        elif self.asked_at is not None:
            parts.append(f"{now - self.asked_at:.0f} s")
        return "▸ " + " · ".join([*parts, *self._route()])

    def summary(self) -> str:
        """One line for when it has ended."""
        timing = self._end_field("timing")
        parts = [self.status]
        if self.end is not None and self.end.data.get("finish_reason"):
            parts[0] += f" ({one_line(str(self.end.data['finish_reason']), 40)})"
        approximate = "" if isinstance(self._end_field("usage").get("output_tokens"), int) else "~"
        parts.append(f"{approximate}{self.tokens} tokens")
        speed, ttft_ms = timing.get("tokens_per_second"), timing.get("ttft_ms")
        if isinstance(speed, int | float):
            parts.append(f"{speed:.1f}/s")
        if isinstance(ttft_ms, int | float):
            parts.append(f"first token {ttft_ms / 1000:.2f} s")
        return " · ".join([*parts, *self._route(), self.generation])

    def _route(self) -> list[str]:
        parts = [one_line(self.nodes[-1], 40)] if self.nodes else []
        if self.attempt > 1:
            parts.append(f"attempt {self.attempt}")
        if self.reconnects:
            parts.append(f"{self.reconnects} reconnect{'s' if self.reconnects > 1 else ''}")
        return parts

    def _void(self, now: float) -> None:
        self.entries = self.characters = self._live_tokens = 0
        self._live_at = None if self._live_at is None else now

    def _end_field(self, name: str) -> Mapping[str, Any]:
        return self.end.part(name) if self.end is not None else {}
