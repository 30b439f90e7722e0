"""Children that do not outlive us, however we go: by the kernel's word on Linux, by a watchdog elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

_PROMISE = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]): sys.exit(1)
try: os.execv(sys.argv[2], sys.argv[2:])
except OSError as error: sys.exit(f"{sys.argv[2]}: {error.strerror}")
"""
"""Asks for SIGKILL at the parent's death (PR_SET_PDEATHSIG), makes sure that it has not died already, and becomes the
program. A step of its own, because Python may not run code between fork and exec in a process with threads."""

_WATCHDOG = 'read -r _; kill -KILL "$1"'
"""Blocks until the pipe to us is closed, which our death does, then ends the child."""

IS_LINUX = sys.platform == "linux"


def dying_with_us(command: Sequence[str]) -> list[str]:
    """The command with the promise before it, where the system knows one; same process id, some 20 ms later.

    The first word must be a path. The kernel ties the promise to the *thread* that starts the child: start children
    from a thread that lives as long as they should.
    """
    if not IS_LINUX:
        return list(command)
    return [sys.executable, "-I", "-S", "-c", _PROMISE, str(os.getpid()), *command]


class Watchdog:
    """A tiny shell that kills ``pid`` once this process is gone; for systems without a parent-death signal."""

    def __init__(self, pid: int) -> None:
        self._shell = subprocess.Popen(  # noqa: S603 - a constant script, the pid is ours
            ["/bin/sh", "-c", _WATCHDOG, "watchdog", str(pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def dismiss(self) -> None:
        """The child has ended by itself: end the watch without touching it."""
        self._shell.kill()
        self._shell.wait()
        if self._shell.stdin is not None:
            self._shell.stdin.close()


def watch(pid: int) -> Watchdog | None:
    """A watchdog where the system needs one."""
    return None if IS_LINUX else Watchdog(pid)
