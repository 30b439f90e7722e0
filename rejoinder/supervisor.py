"""One child process: started, listened to, started again when it dies, ended in an orderly way."""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from rejoinder.parent_death import dying_with_us, watch

_KEPT_LINES = 12
_QUICK_S = 5.0
"""A child that dies sooner than this after its start has not got anywhere."""
_MAX_QUICK_DEATHS = 4
_PAUSE_S = 0.2
_USAGE = 2
"""Exit code of a child that can't run with what it was told: asking again would not help."""
_CHUNK = 64 * 1024
_MAX_LINE = 16 * 1024


class ChildFailed(RuntimeError):
    """A child dies as often as it is started; the message holds its last words."""


class Child:
    """Keeps one program running until :meth:`stop`.

    Args:
        name: how people see it.
        command: called for the argument list at every start.
        env: the child's whole environment.
        on_line: gets (name, line) for every line it prints.
        on_note: gets a sentence whenever it had to be started again.
    """

    def __init__(
        self,
        name: str,
        command: Callable[[], Sequence[str]],
        env: Mapping[str, str],
        *,
        on_line: Callable[[str, str], None],
        on_note: Callable[[str], None],
    ) -> None:
        self.name = name
        self._command = command
        self._env = env
        self._on_line = on_line
        self._on_note = on_note
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._process: asyncio.subprocess.Process | None = None
        self._killed = False
        self._stopping = False
        self.starts = 0
        """How often it was started."""

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    @property
    def last_words(self) -> str:
        """The end of its output."""
        return "\n".join(self._lines)

    async def run(self) -> None:
        """Keep it running; returns after :meth:`stop`, and kills it when cancelled.

        Raises:
            ChildFailed: it dies again and again.
        """
        loop = asyncio.get_running_loop()
        quick_deaths = 0
        while not self._stopping:
            started = loop.time()
            code = await self._run_once()
            if self._stopping:
                return
            # A death by our own hand says nothing of whether it can run.
            quick = loop.time() - started < _QUICK_S and not self._killed
            quick_deaths, self._killed = quick_deaths + 1 if quick else 0, False
            if code == _USAGE or quick_deaths >= _MAX_QUICK_DEATHS:
                raise ChildFailed(f"{self.name} can't run ({_ending(code)}):\n{self.last_words}")
            self._on_note(f"{self.name} died ({_ending(code)}), starting it again")
            await asyncio.sleep(_PAUSE_S * quick_deaths)

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, and SIGKILL if it is still there after ``grace_s`` seconds; returns when it has gone."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                await process.wait()
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await process.wait()

    def kill(self) -> None:
        """End it as a crash would; it is started again."""
        self._killed = True
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _run_once(self) -> int:
        self.starts += 1
        process = await asyncio.create_subprocess_exec(
            *dying_with_us(self._command()),
            env=self._env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            # Its own session: a Ctrl-C at the terminal reaches us alone, and we end the children in order.
            start_new_session=True,
        )
        self._process = process
        if self._stopping:
            self._signal(signal.SIGTERM)
        watchdog = watch(process.pid)
        try:
            if process.stdout is not None:
                await self._listen(process.stdout)
            return await process.wait()
        finally:
            self._signal(signal.SIGKILL)
            await process.wait()
            if watchdog is not None:
                watchdog.dismiss()

    async def _listen(self, output: asyncio.StreamReader) -> None:
        rest = b""
        while chunk := await output.read(_CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _MAX_LINE:
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._heard(line)
        if rest:
            self._heard(rest)

    def _heard(self, line: bytes) -> None:
        text = line[:_MAX_LINE].decode(errors="replace").rstrip()
        self._lines.append(text)
        self._on_line(self.name, text)


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
