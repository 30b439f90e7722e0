"""The HTTP server under a node: uvicorn, taught to bound a reader and to leave; :mod:`api.protocol` is its protocol.

- Accepted sockets inherit a small send buffer and ``TCP_USER_TIMEOUT`` from the listener (design.md section 3).
- On SIGTERM uvicorn itself would wait forever for open streams; see :meth:`Server.shutdown`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from types import FrameType

from uvicorn import Config
from uvicorn import Server as UvicornServer

from api.drain import WINDOW_S, Drain
from api.protocol import reset

log = logging.getLogger(__name__)

SEND_BUFFER = 64 * 1024
"""Bytes the kernel keeps for a reader; without a limit a reader that stops absorbs 3.8 MB."""

USER_TIMEOUT_MS = 30_000
"""After this long without an acknowledgement the kernel gives the connection up, so that a phone that vanished stops
counting as a viewer."""

BACKLOG = 2048
GRACE_S = 5.0
"""How long requests that are no streams may take to finish once the listener is closed."""

FLUSH_S = 1.0
"""How long the last bytes of finished responses may take to leave the process's buffers."""
_TURN_S = 0.01
_TICK_S = 1.0
"""How often uvicorn writes its Date header anew."""


class Server(UvicornServer):
    """Serves until a signal or :meth:`stop`, then drains and returns."""

    def __init__(self, config: Config, drain: Drain, *, drain_delay_s: float = 0.0, window_s: float = WINDOW_S) -> None:
        super().__init__(config)
        self._drain = drain
        self._drain_delay_s = drain_delay_s
        self._window_s = window_s
        self._leave = asyncio.Event()
        self._hurry = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def stop(self) -> None:
        """Begin to leave, as on SIGTERM; said twice: without the drain delay."""
        said = self._hurry if self.should_exit else self._leave
        self.should_exit = True
        if self._loop is None:
            said.set()
        else:
            # A signal's handler runs between any two instructions, and a loop that sleeps wakes up by this only.
            self._loop.call_soon_threadsafe(said.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the listeners."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def main_loop(self) -> None:
        """Serve until told to leave; uvicorn's own looks ten times a second."""
        while not await self.on_tick(0):
            await _until(self._leave, _TICK_S)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Leave on a signal; uvicorn would raise it again at the end, and the exit code would not be 0."""
        del sig, frame
        self.stop()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Unready for the drain delay; then no new connections, streams broken off, the rest finished or cut."""
        log.info("leaving: unready for %g s, then closed", self._drain_delay_s)
        self._drain.begin()
        await _until(self._hurry, self._drain_delay_s)
        for server in self.servers:
            server.close()
        for sock in sockets or []:
            sock.close()
        self._drain.break_off(self._window_s)
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._finish()
        await self.lifespan.shutdown()

    async def _finish(self) -> None:
        """Let requests end and their last bytes go out; then cut whoever is left (it resumes elsewhere)."""
        state = self.server_state
        loop = asyncio.get_running_loop()
        until = loop.time() + self._window_s + GRACE_S
        while state.tasks and loop.time() < until:
            await asyncio.wait(state.tasks, timeout=until - loop.time())
        for task in list(state.tasks):
            task.cancel()
        until = loop.time() + FLUSH_S
        while state.connections and loop.time() < until:  # noqa: ASYNC110 - uvicorn tells nobody of a lost connection
            await asyncio.sleep(_TURN_S)
        for connection in list(state.connections):
            reset(connection.transport)  # pyright: ignore[reportArgumentType]


def listen(host: str, port: int, fd: int | None = None) -> socket.socket:
    """The listening socket, with the limits that accepted sockets inherit. ``fd`` = one that is bound already.

    Raises ``OSError`` when the address can't be bound.
    """
    if fd is not None:
        sock = socket.socket(fileno=fd)
    else:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        sock = socket.create_server(address[:2], family=family, backlog=BACKLOG)  # pyright: ignore[reportArgumentType]
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    if sock.family in (socket.AF_INET, socket.AF_INET6) and hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
    return sock


async def _until(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
