"""Runs blocks as a reader would: in a shell, with the commands the documents speak of on the PATH."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.blocks import PORT, ROOT, Block

LIMIT_S = 60
_POLYFILL = ROOT / "tests/docs/eventsource.mjs"
_STATE = "set +e; declare -p ID LAST > .state 2>/dev/null; declare -f pid >> .state; export -p | grep REJOINDER_ >> .state; true\n"


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
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("REJOINDER_", "COV_"))}  # noqa: TID251
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


def wait_for(shell: Shell, address: str) -> None:
    """Return once a node answers that it is ready. Raises :class:`BlockFailed`."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        probe = [tool("curl"), "-sf", "-o", "/dev/null", f"http://{address}/readyz"]
        if subprocess.run(probe, env=shell.env, check=False).returncode == 0:
            return
        time.sleep(0.05)
    raise BlockFailed(f"nobody became ready at {address}:\n{(shell.directory / 'service.log').read_text()}")
