"""One supervised child: started again when it dies, given up when it can't run, ended in order."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import pytest

from rejoinder.environment import inherited
from rejoinder.supervisor import Child, ChildFailed
from tests.support.waiting import wait_until

WAITS = "import signal; print('up', flush=True); signal.pause()"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"


class Heard:
    """A child and what it said."""

    def __init__(self, script: str) -> None:
        self.lines: list[str] = []
        self.notes: list[str] = []

        def command() -> Sequence[str]:
            return (sys.executable, "-c", script)

        self.child = Child(
            "thing", command, inherited(), on_line=lambda _, line: self.lines.append(line), on_note=self.notes.append
        )


async def test_a_child_that_is_killed_is_started_again_with_a_note() -> None:
    """And ends when told to."""
    heard = Heard(WAITS)
    async with asyncio.TaskGroup() as group:
        group.create_task(heard.child.run())
        await wait_until(lambda: heard.lines == ["up"])
        heard.child.kill()
        await wait_until(lambda: heard.lines == ["up", "up"])
        await heard.child.stop(5)
    assert heard.notes == ["thing died (SIGKILL), starting it again"]
    assert heard.child.starts == 2
    assert heard.child.pid is None


async def test_a_child_may_be_killed_as_often_as_somebody_likes() -> None:
    """That says nothing of whether it can run."""
    heard = Heard(WAITS)
    async with asyncio.TaskGroup() as group:
        group.create_task(heard.child.run())
        for starts in range(1, 7):
            await wait_until(lambda count=starts: len(heard.lines) == count)
            heard.child.kill()
        await wait_until(lambda: len(heard.lines) == 7)
        await heard.child.stop(5)
    assert heard.child.starts == 7


async def test_a_child_that_ignores_sigterm_is_killed_after_its_grace() -> None:
    """Nothing is left behind."""
    heard = Heard(DEAF)
    async with asyncio.TaskGroup() as group:
        group.create_task(heard.child.run())
        await wait_until(lambda: heard.lines == ["up"])
        await heard.child.stop(0.1)
    assert heard.child.pid is None
    assert heard.notes == []


async def test_a_child_that_always_dies_is_given_up_with_its_last_words() -> None:
    """After a bounded number of starts."""
    heard = Heard("print('alas'); raise SystemExit(7)")
    with pytest.raises(ChildFailed, match=r"exit code 7.*\nalas"):
        await heard.child.run()
    assert 1 < heard.child.starts < 10


async def test_wrong_usage_is_not_tried_again() -> None:
    """Exit code 2 will not get better."""
    heard = Heard("print('no such option'); raise SystemExit(2)")
    with pytest.raises(ChildFailed, match="no such option"):
        await heard.child.run()
    assert heard.child.starts == 1


async def test_a_cancelled_supervisor_takes_its_child_along() -> None:
    """Whatever the child thinks of signals."""
    heard = Heard(DEAF)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(heard.child.run())
        await wait_until(lambda: heard.lines == ["up"])
        task.cancel()
    assert heard.child.pid is None


async def test_output_without_newlines_is_cut_into_lines() -> None:
    """A child can't fill our memory."""
    heard = Heard("print('x' * 100_000, end=''); raise SystemExit(2)")
    with pytest.raises(ChildFailed):
        await heard.child.run()
    assert len(heard.lines) > 1
    assert max(map(len, heard.lines)) <= 20_000
