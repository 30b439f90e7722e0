"""Runs blocks as a reader would: in a shell, with the commands the documents speak of on the PATH."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.blocks import PORT, ROOT, Block
from tests.support.waiting import START_S, wait_until

LIMIT_S = 60
_POLYFILL = ROOT / "tests/docs/eventsource.mjs"
_STATE = """set +e
declare -p ID LAST > .state 2>/dev/null
declare -f pid >> .state
export -p | grep REJOINDER_ >> .state
exit 0"""


class BlockFailed(AssertionError):
    """A block did not do what the document says."""


@dataclass(frozen=True)
class Shell:
    """A directory to run in, and the address that stands for the one in the documents."""

    directory: Path
    address: str
    replaced: Mapping[str, str] = field(default_factory=dict[str, str])
    """Further texts of the documents, and what stands for them here."""
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    """Variables that the reader has set."""

    @property
    def env(self) -> dict[str, str]:
        """The environment of a reader, without the settings of whoever runs the tests."""
        commands = self.directory / ".bin"
        if not commands.exists():
            commands.mkdir(parents=True)
            for name, module in (("rejoinder", "-m rejoinder"), ("python3", ""), ("python", "")):
                path = commands / name
                path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
                path.chmod(0o755)
        inherited = dict(os.environ)  # noqa: TID251 - the reader's own - commands need the PATH of whoever runs the tests
        kept = {name: value for name, value in inherited.items() if not name.startswith(("REJOINDER_", "COV_"))}
        kept.pop("OPENAI_API_KEY", None)
        kept.pop("ANTHROPIC_API_KEY", None)
        return {**kept, "PATH": f"{commands}:{kept['PATH']}", "PYTHONPATH": str(ROOT), "TERM": "dumb", **self.settings}

    def text(self, code: str) -> str:
        """The code with our address in place of the documents'."""
        for theirs, ours in {PORT: self.address, **self.replaced}.items():
            code = code.replace(theirs, ours)
        return code

    def run(self, block: Block) -> str:
        """Run one block and return all it printed. Raises :class:`BlockFailed`."""
        code = self.text(block.code)
        match block.language:
            case "python":
                command = [sys.executable, "-W", "error", "-c", code]
            case "js":
                script = self.directory / "example.mjs"
                script.write_text(f'import "{_POLYFILL.as_uri()}";\n{code}')
                command = [tool("node"), str(script)]
            case _:
                command = [tool("bash"), "-e", "-c", f". ./.state 2>/dev/null || true\n{code}\n{_STATE}"]
        done = subprocess.run(
            command, cwd=self.directory, env=self.env, capture_output=True, timeout=LIMIT_S, check=False
        )
        output = (done.stdout + done.stderr).decode()
        missing = [text for text in block.expected if text not in output]
        if done.returncode != 0 or missing:
            raise BlockFailed(f"{block}: exit code {done.returncode}, not in the output: {missing}\n{output}")
        return output

    @contextmanager
    def serving(self, code: str) -> Generator[subprocess.Popen[bytes]]:
        """Inside, the code runs as in a terminal of its own; on the way out somebody presses Ctrl-C there.

        Raises :class:`BlockFailed` when the processes do not end in order.
        """
        log = self.directory / "service.log"
        with log.open("ab") as sink:
            process = subprocess.Popen(
                [tool("bash"), "-c", self.text(code)],
                cwd=self.directory,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        try:
            yield process
            os.killpg(process.pid, signal.SIGINT)
            code_at_end = process.wait(20)
        finally:
            end_group(process)
        if code_at_end not in (0, 130, -signal.SIGINT):
            raise BlockFailed(f"exit code {code_at_end}:\n{log.read_text()}")


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End whatever is left of a process of ours and its children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def tool(name: str) -> str:
    """A program that the examples need; its absence fails the test, in CI too."""
    found = shutil.which(name)
    assert found is not None, f"{name} is needed to run the examples of the documents"
    return found


async def wait_for(address: str) -> None:
    """Return once a node answers that it is ready."""

    async def ready() -> bool:
        return await asyncio.to_thread(_get, f"http://{address}/readyz") is not None

    await wait_until(ready, START_S)


async def wait_for_events(nodes: Iterable[str], count: int) -> None:
    """Return once these nodes have written so many events to streams."""

    async def written() -> bool:
        pages = [await asyncio.to_thread(_get, f"{node}/metrics") or "" for node in nodes]
        found = [re.search(r"^rejoinder_stream_events_total ([0-9.]+)$", page, re.MULTILINE) for page in pages]
        return sum(float(match[1]) for match in found if match) >= count

    await wait_until(written, timeout_s=20)


def _get(url: str) -> str | None:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.read().decode()
    except OSError:
        return None
