"""Which core serves, and what this machine is."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rejoinder.embedded import find_binary

LIBRARIES = ("fastapi", "hiredis", "httptools", "redis", "starlette", "uvicorn", "uvloop")


_USABLE = sorted(os.sched_getaffinity(0))
"""Read once: later this process stays on one of them."""


def cores() -> tuple[int, int]:
    """The core of the server under test, and the one of everything else; the same one where there is only one."""
    return _USABLE[0], _USABLE[-1]


def settle() -> None:
    """Put this process, and whatever it starts from now on, on the core of everything else."""
    os.sched_setaffinity(0, {cores()[1]})


@contextmanager
def on_core(core: int) -> Generator[None]:
    """Children that this thread starts in here run on that core; the thread itself is back on its own afterwards."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_ns(pid: int) -> int:
    """Nanoseconds of CPU that a process has used, threads that have ended included. Raises ``OSError``: it is gone."""
    # Linux names every process's CPU clock by its id; unlike /proc/PID/stat it counts nanoseconds, not ticks.
    return time.clock_gettime_ns((~pid << 3) | 2)


def parse_waited_ns(schedstat: str) -> int:
    """What /proc/PID/schedstat says of the time in which a process was ready and had no core. Raises ``ValueError``."""
    _ran, waited, _slices = map(int, schedstat.split())
    return waited


def waited_ns(pid: int) -> int:
    """Nanoseconds in which a process's main thread was ready and others had its core. Raises ``OSError``: gone."""
    return parse_waited_ns(Path(f"/proc/{pid}/schedstat").read_text())


def parse_pss_kib(rollup: str) -> int:
    """The proportional set size in /proc/PID/smaps_rollup, KiB. Raises ``ValueError`` where there is none."""
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise ValueError("no Pss line")


def pss_kib(pid: int) -> int:
    """KiB of memory of a process, shared pages counted by their share."""
    return parse_pss_kib(Path(f"/proc/{pid}/smaps_rollup").read_text())


def parse_status_kib(status: str, name: str) -> int:
    """A size in /proc/PID/status, KiB. Raises ``ValueError`` where there is none of that name."""
    for line in status.splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise ValueError(f"no {name} line")


def forget_peak(pid: int) -> int:
    """Begin a new peak of a process's memory; the KiB it has now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return parse_status_kib(Path(f"/proc/{pid}/status").read_text(), "VmRSS")


def peak_kib(pid: int) -> int:
    """The most memory that a process has had since :func:`forget_peak`, KiB."""
    return parse_status_kib(Path(f"/proc/{pid}/status").read_text(), "VmHWM")


def parse_cpu_model(cpuinfo: str) -> str:
    """The first model name of /proc/cpuinfo."""
    for line in cpuinfo.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"


def server_version() -> str:
    """What the Redis of the runs says of itself."""
    said = subprocess.run([find_binary(), "--version"], capture_output=True, text=True, check=True).stdout
    return parse_server_version(said)


def parse_server_version(said: str) -> str:
    """Name and version in the output of ``redis-server --version`` or ``valkey-server --version``."""
    name = "Valkey" if "alkey" in said else "Redis"
    found = re.search(r"v=(\S+)", said)
    return f"{name} {found[1] if found else 'unknown'}"


def describe() -> dict[str, Any]:
    """The machine and the versions of what was measured."""
    return {
        "cpu": parse_cpu_model(Path("/proc/cpuinfo").read_text()),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "redis": server_version(),
        "python": sys.version.split()[0],
        "libraries": {name: version(name) for name in LIBRARIES},
    }
