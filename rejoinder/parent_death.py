"""Children that do not outlive us, however we go: by the kernel's word on Linux, by a watchdog elsewhere."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_WATCHDOG = 'read -r _; kill -KILL "$1"'
"""Blocks until the pipe to us is closed, which our death does, then ends the child."""

IS_LINUX = sys.platform == "linux"


def _prctl() -> Callable[[], None]:
    # Loaded before the fork: between fork and exec a child may do next to nothing safely.
    libc = ctypes.CDLL(None, use_errno=True)

    def die_with_parent() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return die_with_parent


preexec: Callable[[], None] | None = _prctl() if IS_LINUX else None
"""For ``preexec_fn``. The kernel ties the promise to the *thread* that starts the child: start children from a thread
that lives as long as they should."""


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
