"""How the demo looks: the answer in the colour of the node that serves it, the cuts, the proof."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from rejoinder.sanitize import neutralise, one_line
from rejoinder.stream_event import StreamEvent

_COLOURS = ("cyan", "magenta", "green", "blue")
_INDENT = "  │ "
_WIDEST = 88
_NARROWEST = 30
_WORD_REST = 8


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the proof."""

    holds: bool
    claim: str
    detail: str


class DemoView:
    """Writes to a console; plain where that is no terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = max(_NARROWEST, min(_WIDEST, console.width) - _WORD_REST)
        self._column = 0
        self._styles: dict[str, str] = {}
        self._style = ""
        self._awaits_replay = False

    def ready(self, took_s: float) -> None:
        """The service is up."""
        title = Text.assemble(
            ("Rejoinder demo", "bold"), (f"   1 worker, 2 nodes, embedded server · up in {took_s:.1f} s", "dim")
        )
        self._line(Text())
        self._line(title)

    def submitted(self, generation: str, model: str, tokens: int, rate: float) -> None:
        """The generation is committed."""
        what = f"{one_line(generation, 60)} · {model} · {tokens} tokens at {rate:g}/s"
        self._line(Text(what, style="dim"))

    def opened(self, node: str, after: str | None, away_s: float | None) -> None:
        """A connection answered."""
        node = one_line(node, 40) or "?"
        self._style = self._styles.setdefault(node, _COLOURS[len(self._styles) % len(_COLOURS)])
        how = "streams from the start" if after is None else f"resumes after {after}"
        away = "" if away_s is None else f", {away_s:.2f} s later"
        self._line(Text())
        self._line(Text.assemble(("  ● ", self._style), (node, f"bold {self._style}"), (f" {how}{away}", "dim")))
        self._awaits_replay = after is not None

    def cut(self, last_event_id: str, reason: str) -> None:
        """The connection is gone."""
        del reason
        self._line(Text.assemble(("  ✂ cut", "bold red"), (f" TCP reset after event {last_event_id}", "red")))

    def event(self, event: StreamEvent) -> None:
        """Show one event of the answer."""
        if event.type != "text.delta":
            return
        # What had been written while nobody listened comes first and as one event: shown apart from what is live.
        style = f"dim {self._style}" if self._awaits_replay and event.merged > 1 else self._style
        if self._awaits_replay and event.merged > 1:
            self._line(Text(f"{_INDENT}({event.merged} tokens were waiting in the log)", style="dim"))
        self._awaits_replay = False
        for word in _words(neutralise(event.text)):
            if word != " ":
                self._word(word, style)

    def proof(self, checks: list[Check], took_s: float) -> None:
        """The verdict, on one screen."""
        self._line(Text())
        table = Table.grid(padding=(0, 2))
        for check in checks:
            sign = Text("✔", style="bold green") if check.holds else Text("✘", style="bold red")
            table.add_row(sign, Text(check.claim, style="bold" if check.holds else "bold red"), Text(check.detail))
        good = all(check.holds for check in checks)
        title = Text("proof" if good else "proof FAILED", style="bold green" if good else "bold red")
        panel = Panel(table, title=title, border_style="green" if good else "red", expand=False, padding=(0, 2))
        self._console.print(panel)
        self._line(Text(f"done in {took_s:.1f} s. Next: `rejoinder dev` serves it on your machine.", style="dim"))

    def failure(self, reason: str) -> None:
        """It did not come to a proof."""
        self._line(Text(f"error: the demo failed: {neutralise(reason)}", style="bold red"))

    def _word(self, word: str, style: str) -> None:
        width = cell_len(word)
        # A token may be the rest of a word: rows are broken at white space only, and end early enough for it.
        if self._column and word.startswith(" ") and self._column + width > self._width:
            self._end_line()
        if not self._column:
            word = word.lstrip()
            self._print(Text(_INDENT, style="dim"))
            self._column = len(_INDENT)
        self._print(Text(word, style=style))
        self._column += cell_len(word)

    def _line(self, text: Text) -> None:
        self._end_line()
        self._console.print(text, soft_wrap=True)

    def _end_line(self) -> None:
        if self._column:
            self._print(Text("\n"))
            self._column = 0

    def _print(self, text: Text) -> None:
        self._console.print(text, end="", soft_wrap=True)


def _words(text: str) -> list[str]:
    """The text in pieces that begin with their white space; newlines become spaces, the demo's text is prose."""
    pieces: list[str] = []
    for char in text.replace("\n", " "):
        if char == " " or not pieces:
            pieces.append(char)
        else:
            pieces[-1] += char
    return pieces
