"""Where the command writes: two streams, what kind they are, and a status line that stays out of the text's way."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TextIO

from rich.cells import cell_len

from rejoinder.environment import variable

DIM = "\x1b[2m"
BOLD = "\x1b[1m"
RED = "\x1b[31m"
YELLOW = "\x1b[33m"
PLAIN = "\x1b[0m"
_SAVE = "\x1b7"
_RESTORE = "\x1b8"
_CLEAR_LINE = "\x1b[2K"
_DOWN_SCROLLING = "\x1bD"
_UP = "\x1b[1A"
_WHOLE_SCREEN = "\x1b[r"
_MIN_ROWS = 5
_TAB = 8
_USUAL_SIZE = os.terminal_size((80, 24))


@dataclass(slots=True)
class Screen:
    """Standard output and standard error; each may be a terminal or not."""

    out: TextIO
    err: TextIO
    out_is_tty: bool
    err_is_tty: bool
    colour: bool

    @classmethod
    def of_process(cls) -> Screen:
        """The process's own. Text that the encoding lacks is replaced, never a reason to stop."""
        for stream in (sys.stdout, sys.stderr):
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:
                reconfigure(errors="replace")
        capable = variable("TERM") not in {None, "dumb"}
        colour = capable and variable("NO_COLOR") is None
        return cls(sys.stdout, sys.stderr, sys.stdout.isatty(), sys.stderr.isatty() and capable, colour)

    def paint(self, text: str, style: str, *, on_out: bool = False) -> str:
        """The text in a style, where the stream is a terminal that may show colours."""
        is_tty = self.out_is_tty if on_out else self.err_is_tty
        return f"{style}{text}{PLAIN}" if self.colour and is_tty else text


class StatusLine:
    """One line on standard error that is drawn over and over.

    While the text goes to the same terminal, the line has the bottom row to itself: the text scrolls in a region above
    it, so that neither has to know where the other one's cursor is. Else it is simply rewritten in place. Where
    standard error is no terminal, nothing is ever drawn.
    """

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._shared = screen.out_is_tty
        self._size: os.terminal_size | None = None
        self._shown = False
        self._column = 0

    def wrote(self, text: str) -> None:
        """Keep in mind where text on the shared terminal has left the cursor; ``text`` is what a reader sees of it."""
        width = self._measure().columns
        for char in text:
            if char == "\n":
                self._column = 0
            elif char == "\t":
                self._column += _TAB - self._column % _TAB
            else:
                cells = cell_len(char)
                # A wide character that does not fit at the end of a row leaves its last cell empty.
                room = width - self._column % width
                self._column += cells + (room if cells > room else 0)

    def show(self, text: str) -> None:
        """Draw the line anew; text that is wider than the terminal is cut."""
        if not self._screen.err_is_tty:
            return
        size = self._measure()
        if size.lines < _MIN_ROWS or (self._shared and self._at_the_edge(size)):
            return
        line = text[: size.columns - 1]
        if self._shared:
            self._screen.out.flush()
            self._reserve(size)
            self._put(f"{_SAVE}\x1b[{size.lines};1H{_CLEAR_LINE}{self._dim(line)}{_RESTORE}")
        else:
            self._put(f"\r{_CLEAR_LINE}{self._dim(line)}")
        self._shown = True

    def clear(self) -> None:
        """Take the line away and give the whole terminal back."""
        if not self._shown:
            return
        self._shown = False
        if self._shared and self._size is not None:
            self._screen.out.flush()
            self._put(f"{_SAVE}{_WHOLE_SCREEN}\x1b[{self._size.lines};1H{_CLEAR_LINE}{_RESTORE}")
            self._size = None
        else:
            self._put(f"\r{_CLEAR_LINE}")

    def _reserve(self, size: os.terminal_size) -> None:
        if self._size == size:
            return
        # A line is scrolled in below first, keeping the column, lest the cursor be left standing on the status row.
        self._size = size
        self._put(f"{_DOWN_SCROLLING}{_SAVE}\x1b[1;{size.lines - 1}r{_RESTORE}{_UP}")

    def _at_the_edge(self, size: os.terminal_size) -> bool:
        # The row is full and the terminal is about to wrap: it forgets that over a saved cursor, and the next
        # character would fall on the last one.
        return self._column > 0 and self._column % size.columns == 0

    def _measure(self) -> os.terminal_size:
        try:
            size = os.get_terminal_size(self._screen.err.fileno())
        except OSError:
            return _USUAL_SIZE
        # Some pseudo-terminals do not know theirs.
        return size if size.columns > 0 and size.lines > 0 else _USUAL_SIZE

    def _dim(self, line: str) -> str:
        return f"{DIM}{line}{PLAIN}" if self._screen.colour else line

    def _put(self, text: str) -> None:
        self._screen.err.write(text)
        self._screen.err.flush()
