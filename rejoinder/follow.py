"""Reading one generation in a terminal: until its end, or until the reader detaches."""

from __future__ import annotations

import asyncio
import shlex
import signal
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from rejoinder.client import Client
from rejoinder.exits import ExitCode
from rejoinder.progress import Progress
from rejoinder.streaming import EventStream, Note, Opened
from rejoinder.terminal import Screen
from rejoinder.viewer import Viewer, ended_with

_TICK_S = 0.1


@dataclass(slots=True)
class _Stop:
    """Which signal asked us to detach, if one did."""

    number: signal.Signals | None = None


async def follow(
    client: Client,
    progress: Progress,
    viewer: Viewer,
    screen: Screen,
    *,
    after: str | None = None,
    resume_options: tuple[str, ...] = (),
) -> ExitCode:
    """Show the generation to its end and answer with the exit code.

    SIGINT and SIGTERM detach: the generation goes on, and the command that resumes is printed to standard error.

    Args:
        client: connected or not; it resumes by itself.
        progress: names the generation.
        viewer: shows it.
        screen: for the parting words.
        after: the position to go on from.
        resume_options: what the resuming command needs beside the position, for instance ``--url``.

    Raises:
        ClientError: as :meth:`Client.stream` does.
    """
    stream = client.stream(progress.generation, after, on_note=lambda note: _enter(progress, note))
    summary: str | None = None
    with _detach_on_signal() as stop:
        try:
            await _read(stream, progress, viewer)
            summary = progress.summary() if progress.end is not None else "nothing new: it had ended there"
        except asyncio.CancelledError:
            if stop.number is None:
                raise
        finally:
            viewer.close(summary)
    if stop.number is None:
        return ended_with(progress.end)
    command = shlex.join(_resume_command(progress.generation, stream.last_event_id, resume_options))
    screen.err.write(f"detached, the generation goes on. To resume:\n  {command}\n")
    screen.err.flush()
    return ExitCode(128 + stop.number)


async def _read(stream: EventStream, progress: Progress, viewer: Viewer) -> None:
    clock = asyncio.get_running_loop().time
    try:
        async with stream, asyncio.TaskGroup() as group:
            ticker = group.create_task(_tick(progress, viewer))
            async for event in stream:
                progress.take(event, clock())
                viewer.take(event)
            ticker.cancel()
    except BaseExceptionGroup as failures:
        # The ticker only draws: what the group holds is the one error that ended the reading.
        raise failures.exceptions[0] from None


def _enter(progress: Progress, note: Note) -> None:
    if isinstance(note, Opened):
        progress.opened(note.node)
    else:
        progress.lost()


def _resume_command(generation: str, after: str | None, options: tuple[str, ...]) -> list[str]:
    position = ["--after", after] if after else []
    return ["rejoinder", "tail", generation, *position, *options]


async def _tick(progress: Progress, viewer: Viewer) -> None:
    while True:
        viewer.status(progress.status_line(asyncio.get_running_loop().time()))
        await asyncio.sleep(_TICK_S)


@contextmanager
def _detach_on_signal() -> Generator[_Stop]:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    stop = _Stop()

    def detach(number: signal.Signals) -> None:
        if stop.number is None and task is not None:
            stop.number = number
            task.cancel()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, detach, number)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
        if stop.number is not None and task is not None:
            task.uncancel()
