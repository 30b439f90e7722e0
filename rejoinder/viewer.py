"""How a stream is shown: as text for people, or as JSON lines for programs."""

from __future__ import annotations

from typing import Protocol, TextIO

import msgspec

from rejoinder.exits import ExitCode, next_step
from rejoinder.failures import VoidOutput
from rejoinder.sanitize import neutralise, one_line
from rejoinder.stream_event import RESET, StreamEvent
from rejoinder.terminal import BOLD, DIM, RED, YELLOW, Screen, StatusLine


class Viewer(Protocol):
    """Gets every event in order, then the end."""

    def take(self, event: StreamEvent) -> None:
        """Show one event."""
        ...

    def status(self, line: str) -> None:
        """Show how it goes, where there is a place for that."""
        ...

    def close(self, summary: str | None) -> None:
        """Leave the terminal as it was found; say the summary, if any."""
        ...


class TextViewer:
    """The answer's text on standard output, all else on standard error.

    On a terminal, reasoning is shown dimmed and control characters are neutralised. Into a pipe or a file goes the
    bare answer, byte for byte.

    Args:
        screen: where to write.
        void_possible: an earlier command has written text that a restart would make void.
        quiet: no status line, no summary.
    """

    def __init__(self, screen: Screen, *, void_possible: bool = False, quiet: bool = False) -> None:
        self._screen = screen
        self._status = StatusLine(screen)
        self._shown = void_possible
        self._quiet = quiet
        self._line_start = True
        self._kind = ""

    def take(self, event: StreamEvent) -> None:
        """Show one event.

        Raises:
            VoidOutput: the answer starts over, and text of it went into a pipe already.
        """
        match event.type:
            case "text.delta" | "refusal.delta":
                self._write(event.type, event.text)
            case "reasoning.delta" if self._screen.out_is_tty:
                self._write(event.type, event.text)
            case "tool_call.completed":
                name = one_line(str(event.data.get("name", "")))
                arguments = one_line(str(event.data.get("arguments", "")))
                self._note(f"→ {name}({arguments})", BOLD)
            case "generation.started":
                self._started(event)
            case "generation.retrying":
                self._note(_retrying(event), YELLOW)
            case "generation.failed":
                self._failed(event)
            case "generation.cancelled":
                self._note(f"— cancelled ({one_line(str(event.data.get('reason', '')))}) —", YELLOW)
            case _ if event.type == RESET:
                self._void(f"the server lost this position ({one_line(str(event.data.get('reason', '')))})")
            case _:
                pass

    def status(self, line: str) -> None:
        """Draw the status line."""
        if not self._quiet:
            self._status.show(line)

    def close(self, summary: str | None) -> None:
        """End the last line, take the status line away, say the summary."""
        self._to_line_start()
        self._status.clear()
        if summary and not self._quiet:
            self._say(self._screen.paint(summary, DIM))

    def _started(self, event: StreamEvent) -> None:
        attempt = event.data.get("attempt", 0)
        if event.data.get("mode") == "restart":
            if self._shown:
                self._void(f"worker lost, attempt {attempt} starts over")
        elif attempt != 1:
            self._note(f"— worker lost, attempt {attempt} goes on from here —", YELLOW)

    def _void(self, reason: str) -> None:
        if self._shown and not self._screen.out_is_tty:
            raise VoidOutput(f"{reason}: what was written so far is void, and two answers are not glued together")
        self._shown = False
        self._note(f"— {reason} —", YELLOW)

    def _failed(self, event: StreamEvent) -> None:
        error = event.part("error")
        code = str(error.get("code", "unknown"))
        self._note(f"error: {one_line(str(error.get('message', '')))} [{one_line(code)}]", RED)
        step = next_step(code) or ("submit it again: this may pass" if error.get("retryable") else None)
        if step:
            self._note(f"next:  {step}", DIM)

    def _write(self, kind: str, text: str) -> None:
        if not text:
            return
        if self._kind not in {"", kind} and self._screen.out_is_tty:
            self._to_line_start()
        self._kind = kind
        self._shown = True
        if self._screen.out_is_tty:
            text = neutralise(text)
            self._status.wrote(text)
            self._line_start = text.endswith("\n")
            if kind == "reasoning.delta":
                text = self._screen.paint(text, DIM, on_out=True)
        _put(self._screen.out, text)

    def _note(self, text: str, style: str) -> None:
        self._to_line_start()
        if self._screen.err_is_tty and not self._screen.out_is_tty:
            self._status.clear()
        self._say(self._screen.paint(text, style))

    def _to_line_start(self) -> None:
        if self._screen.out_is_tty and not self._line_start:
            _put(self._screen.out, "\n")
            self._status.wrote("\n")
            self._line_start = True

    def _say(self, text: str) -> None:
        _put(self._screen.err, text + "\n")


class JsonViewer:
    """Every event as one line ``{"id": …, "event": {…}}``, the NDJSON form of the server."""

    def __init__(self, screen: Screen) -> None:
        self._out = screen.out

    def take(self, event: StreamEvent) -> None:
        """Write one line."""
        _put(self._out, msgspec.json.encode({"id": event.id, "event": event.data}).decode() + "\n")

    def status(self, line: str) -> None:
        """Nothing: the lines say it all."""

    def close(self, summary: str | None) -> None:
        """Nothing to put back."""


def ended_with(event: StreamEvent | None) -> ExitCode:
    """The exit code for the way a generation ended; ``None`` = its terminal event had been read before."""
    return ExitCode.OK if event is None or event.type == "generation.completed" else ExitCode.FAILED


def _retrying(event: StreamEvent) -> str:
    message = one_line(str(event.part("error").get("message", "")), 200)
    delay_s = event.data.get("delay_s", 0)
    return f"— provider refused: {message}; asked again in {delay_s:.1f} s —"


def _put(stream: TextIO, text: str) -> None:
    stream.write(text)
    stream.flush()
