"""The whole service on one machine: an embedded server, one worker, two nodes, and a round robin before them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from rejoinder.balancer import Backend, Balancer
from rejoinder.embedded import EmbeddedServer, EmbeddedServerError, new_password
from rejoinder.environment import inherited
from rejoinder.ports import LOOPBACK, free_port, is_free
from rejoinder.probe import can_connect, is_ready
from rejoinder.supervisor import Child, ChildFailed

NODE_NAMES = ("node-a", "node-b")
PREFIX = "REJOINDER_"
_READY_S = 30.0
_POLL_S = 0.02
_SERVER_CHECK_S = 0.1
_GRACE_S = 6.0
_WORKER_DRAIN_S = "1"
"""Whoever ends ``dev`` wants it to end: generations that run are handed over and go on at the next start."""


class DevError(RuntimeError):
    """The service can't be started or kept up; the message says why and, where known, what to do."""


class DevStack:
    """An async context manager; inside it the service is ready.

    Args:
        port: of the front; 0 = a free one.
        redis_url: the server to use; ``None`` = an embedded one.
        data_dir: where the embedded server keeps its data; ``None`` = gone at the end.
        isolated: leave the caller's ``REJOINDER_*`` variables out of the children's environment.
        env: further variables for all children.
        on_line: gets (child's name, line) for all they print.
        on_note: gets a sentence for everything that had to be mended.

    Entering raises :class:`DevError`; so does leaving, when a child could not be kept up.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        redis_url: str | None = None,
        data_dir: Path | None = None,
        isolated: bool = False,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str, str], None] | None = None,
        on_note: Callable[[str], None] | None = None,
    ) -> None:
        self._balancer = Balancer(port=port)
        self._server: EmbeddedServer | None = None
        if redis_url is None:
            self._server = EmbeddedServer(data_dir=data_dir, password=new_password())
        self._redis_url = redis_url
        self._isolated = isolated
        self._extra = dict(env or {})
        self._on_line = on_line or _ignore
        self._on_note = on_note or _ignore
        self._stack = AsyncExitStack()
        self._stopping = asyncio.Event()
        self._children: dict[str, Child] = {}
        self._ports: dict[str, int] = {}
        self.entered = False
        """Whether it has come up."""

    @property
    def url(self) -> str:
        """The front: connections go to the nodes in turn."""
        return self._balancer.url

    @property
    def nodes(self) -> dict[str, str]:
        """Name -> base URL of each node, past the front."""
        return {name: f"http://{LOOPBACK}:{port}" for name, port in self._ports.items()}

    @property
    def redis_url(self) -> str:
        """The server the log is on."""
        return self._redis_url or (self._server.url if self._server is not None else "")

    @property
    def embedded(self) -> bool:
        """Whether that server is ours."""
        return self._server is not None

    @property
    def pids(self) -> dict[str, int]:
        """Name -> process id of all that runs."""
        pids = {name: child.pid for name, child in self._children.items()}
        if self._server is not None:
            pids["redis"] = self._server.pid
        return {name: pid for name, pid in pids.items() if pid is not None}

    def kill(self, name: str) -> None:
        """SIGKILL ``worker``, ``node-a``, ``node-b`` or the embedded ``redis``; it is started again."""
        if name == "redis" and self._server is not None:
            self._server.kill()
        else:
            self._children[name].kill()

    def kill_worker(self) -> None:
        """SIGKILL the worker; it is started again, and its generations are taken over when their lease has lapsed."""
        self.kill("worker")

    def starts(self, name: str) -> int:
        """How often that child has been started."""
        return self._children[name].starts

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            # The group of the children knows better than the waiter what went wrong, and says it on the way out.
            await self._close()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._close()

    def abandon(self) -> None:
        """End every child at once instead of in order; for whoever does not want to wait for the orderly stop."""
        for child in self._children.values():
            child.kill()

    async def wait_ready(self) -> None:
        """Return when every node answers ``/readyz`` with 200.

        Raises:
            DevError: not within 30 s; the message holds the last words of the node.
        """
        for name, url in self.nodes.items():
            try:
                async with asyncio.timeout(_READY_S):
                    while not await is_ready(url):  # noqa: ASYNC110 - another process has no event to wait for
                        await asyncio.sleep(_POLL_S)
            except TimeoutError:
                words = self._children[name].last_words
                raise DevError(f"{name} was not ready within {_READY_S:.0f} s:\n{words}") from None

    async def _start(self) -> None:
        await self._stack.enter_async_context(self._balancer)
        await self._start_server()
        group = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._stack.push_async_callback(self._stop_children)
        for name in NODE_NAMES:
            self._children[name] = self._node(name)
        self._children["worker"] = self._child("worker", lambda: ("worker",), {})
        for child in self._children.values():
            group.create_task(child.run())
        if self._server is not None:
            group.create_task(self._mend_server(self._server))
        await self.wait_ready()
        self.entered = True

    async def _start_server(self) -> None:
        if self._server is not None:
            try:
                await self._stack.enter_async_context(self._server)
            except EmbeddedServerError as error:
                raise DevError(str(error)) from error
        elif not await can_connect(self.redis_url):
            where = urlsplit(self.redis_url)
            raise DevError(
                f"nothing answers at {where.hostname or where.path}:{where.port or 6379} (REJOINDER_REDIS_URL): "
                "start it, or unset the variable to use the embedded server"
            )

    def _node(self, name: str) -> Child:
        self._ports[name] = free_port()
        first = True

        def arguments() -> tuple[str, ...]:
            nonlocal first
            # The port may have been taken by another program between two starts: a new start asks for a new one,
            # unless the old one is still free, so that direct URLs stay good whenever they can.
            if not first and not is_free(self._ports[name]):
                self._ports[name] = free_port()
            first = False
            self._balancer.backends = [Backend(LOOPBACK, port) for port in self._ports.values()]
            return ("api", "--host", LOOPBACK, "--port", str(self._ports[name]))

        return self._child(name, arguments, {"REJOINDER_NODE_NAME": name})

    def _child(self, name: str, arguments: Callable[[], tuple[str, ...]], env: Mapping[str, str]) -> Child:
        inherited_env = inherited()
        if self._isolated:
            inherited_env = {key: value for key, value in inherited_env.items() if not key.startswith(PREFIX)}
        defaults = {"REJOINDER_WORKER_DRAIN_S": _WORKER_DRAIN_S, "PYTHONUNBUFFERED": "1"}
        ours = {"REJOINDER_REDIS_URL": self.redis_url, **env}
        return Child(
            name,
            lambda: (sys.executable, "-m", "rejoinder", *arguments()),
            {**defaults, **inherited_env, **self._extra, **ours},
            on_line=self._on_line,
            on_note=self._on_note,
        )

    async def _mend_server(self, server: EmbeddedServer) -> None:
        while not self._stopping.is_set():
            if server.pid is None:
                self._on_note("the embedded server died, starting it again on the same data")
                await server.start_async()
            try:
                async with asyncio.timeout(_SERVER_CHECK_S):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    async def _stop_children(self) -> None:
        self._stopping.set()
        async with asyncio.TaskGroup() as group:
            for child in self._children.values():
                group.create_task(child.stop(_GRACE_S))

    async def _close(self) -> None:
        try:
            # Not told of an error in the body: a task group would wrap it, and the children end in order either way.
            await self._stack.aclose()
        except ExceptionGroup as group:
            first = group.exceptions[0]
            if isinstance(first, ChildFailed | EmbeddedServerError):
                raise DevError(str(first)) from None
            raise


def _ignore(*_words: str) -> None:
    pass
