"""A worker that sends itself a signal at a named point: ``python -m tests.faults.crash POINT``.

The signal comes from inside, so that it comes at exactly this point; nothing of ours runs behind a SIGKILL.
"""
# pyright: reportPrivateUsage=false
# (the points lie inside)

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from typing import Any

from broker.scripts import Ending
from broker.settings import Settings
from worker.drive import Drive
from worker.held import Held, Portion
from worker.main import run
from worker.queue import QueueWorker
from worker.writer import LogWriter


async def die(*_args: object, **_kwargs: object) -> Any:
    """As kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)


def behind_an_append(last: bytes, number: signal.Signals) -> None:
    """Signal ourselves once Redis has taken an entry whose field begins so, and nothing behind it."""
    acknowledge, portion_of = Held.acknowledge, Held.portion

    def up_to_it(self: Held) -> Portion:
        # Where a stall lets all of the answer come at once, the point would be gone with one append.
        portion = portion_of(self)
        at = [place for place, entry in enumerate(portion.entries, 1) if entry[0].startswith(last)]
        return replace(portion, entries=portion.entries[: at[-1]]) if at else portion

    def and_signal(self: Held, portion: Portion) -> None:
        acknowledge(self, portion)
        if portion.entries and portion.entries[-1][0].startswith(last):
            os.kill(os.getpid(), number)

    Held.acknowledge, Held.portion = and_signal, up_to_it


async def end_without_its_end(self: LogWriter, ending: Ending) -> Any:
    """Write the last token, and not the terminal entry."""
    del ending
    await self.drain()
    await die()


def arm(point: str) -> None:
    """Make this process end at the point."""
    match point:
        case "before the first token":
            Drive._pull = die
        case "in a tool call":
            behind_an_append(b"a", signal.SIGKILL)
        case "in the text":
            behind_an_append(b"t", signal.SIGKILL)
        case "in a thought":
            behind_an_append(b"r", signal.SIGKILL)
        case "behind the last token":
            LogWriter.end = end_without_its_end
        case "between the end and the queue":
            QueueWorker._let_go = die
        case "told to go":
            behind_an_append(b"t", signal.SIGTERM)
        case _:
            raise ValueError(point)


if __name__ == "__main__":
    arm(sys.argv[1])
    run(Settings())
