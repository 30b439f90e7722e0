"""The C programs of bench/load: compiled once per change, and the load generator as an object."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.child import Child, start
from bench.systems import Viewer

SOURCES = Path(__file__).parent / "load"
PROGRAMS = {"load": ("main.c", "http.c", "sse.c", "hist.c"), "floor": ("floor.c",)}
BUILT = Path(__file__).parents[1] / "build" / "bench"
READY_S = 60.0
RACE_S = 120.0
ANSWER_S = 10.0


FAULTS = ("gaps", "doubled", "reordered", "id_errors", "http_errors", "cut")


class Unsound(RuntimeError):
    """A void run: an event was lost, doubled or reordered, a viewer refused or cut, or not all came in time."""

    def __init__(self, report: Mapping[str, Any]) -> None:
        names = ("why", "connections", "reached", "tokens", *FAULTS)
        super().__init__("void: " + ", ".join(f"{name} {report[name]}" for name in names if report[name]))
        self.faults = sum(int(report[name]) for name in FAULTS)
        """How many there were; 0 = all that came was right, but not all came in time."""


def build(program: str) -> Path:
    """The path of a program, compiled when its sources have changed.

    Raises:
        FileNotFoundError: there is no C compiler.
        CalledProcessError: it does not compile.
    """
    sources = [SOURCES / name for name in PROGRAMS[program]]
    text = b"".join(path.read_bytes() for path in [*sources, SOURCES / "load.h"])
    target = BUILT / f"{program}-{hashlib.sha256(text).hexdigest()[:16]}"
    if not target.exists():
        compiler = shutil.which("cc")
        if compiler is None:
            raise FileNotFoundError("cc, a C compiler, is needed to build the load generator")
        BUILT.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILT) as folder:
            made = Path(folder) / program
            flags = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror")
            subprocess.run([compiler, *flags, "-o", made, *sources], check=True)
            made.rename(target)
    return target


def encode_requests(viewers: Sequence[Viewer], *, ids: bool, target: int = 0) -> bytes:
    """The load generator's file of requests; ``target``: the number of the last token wanted, 0 = told later."""
    parts: list[bytes] = []
    for viewer in viewers:
        headers = {"Host": "127.0.0.1", "Accept": "text/event-stream", **viewer.headers}
        if viewer.body:
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(viewer.body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        method = "POST" if viewer.body else "GET"
        request = f"{method} {viewer.path} HTTP/1.1\r\n{lines}\r\n".encode() + viewer.body
        parts.append(b"%d %d %d %d %d\n%s" % (viewer.next, viewer.seq, ids, target, len(request), request))
    return b"".join(parts)


def judged(report: dict[str, Any]) -> dict[str, Any]:
    """The report of a run that may count. Raises :class:`Unsound`."""
    if not report["sound"]:
        raise Unsound(report)
    return report


class Load:
    """Viewers that are connected; made by :func:`hold`."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self._timeout_s = 0.0

    async def begin(self, number: int, timeout_s: float, *, skip: int = 0) -> None:
        """Count from now until every viewer has seen token ``number``, or ``timeout_s`` is over.

        Tokens up to number ``skip`` are checked but not timed.
        """
        self._timeout_s = timeout_s
        await self.child.say(f"until {number} {int(timeout_s * 1000)} {skip}")
        await self.child.hear(ANSWER_S)

    async def result(self) -> dict[str, Any]:
        """What was counted since :meth:`begin`, once that is over: the raw report."""
        return await self.child.hear(self._timeout_s + ANSWER_S)

    async def until(self, number: int, timeout_s: float, *, skip: int = 0) -> dict[str, Any]:
        """:meth:`begin` and :meth:`result`."""
        await self.begin(number, timeout_s, skip=skip)
        return await self.result()


@asynccontextmanager
async def hold(port: int, viewers: Sequence[Viewer], *, ids: bool, burst: int = 100) -> AsyncGenerator[Load]:
    """Connect viewers, ``burst`` at a time, and keep them. Raises :class:`Unsound` when one is refused."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(encode_requests(viewers, ids=ids))
        file.flush()
        command = (str(build("load")), str(port), file.name, str(burst), "hold")
        async with start("load", command, talks=True, quiet=False) as child:
            ready = await child.hear(READY_S)
            if ready["why"] != "ready" or ready["http_errors"] or ready["cut"]:
                judged({**ready, "sound": False})
            yield Load(child)


async def race(port: int, viewers: Sequence[Viewer], *, target: int, ids: bool, burst: int) -> dict[str, Any]:
    """Connect viewers, ``burst`` at a time, each of them until token ``target``: the report, judged."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(encode_requests(viewers, ids=ids, target=target))
        file.flush()
        command = (str(build("load")), str(port), file.name, str(burst), "race")
        async with start("load", command, talks=True, quiet=False) as child:
            return judged(await child.hear(RACE_S))
