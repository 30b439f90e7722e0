"""A WebSocket client for tests: the library's, with our messages."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

from tests.support.history import Seen, Viewer


class SocketClient:
    """One connection; keeps what came, for each generation."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.events: dict[str, list[Seen]] = {}
        self.others: list[dict[str, Any]] = []

    async def say(self, kind: str, **fields: Any) -> None:
        """Send a message."""
        await self.connection.send(json.dumps({"type": kind, **fields}))

    async def hear(self) -> dict[str, Any]:
        """The next message."""
        message = json.loads(await self.connection.recv())
        if message["type"] == "event":
            self.events.setdefault(message["generation"], []).append(Seen(message["id"], message["event"]))
        else:
            self.others.append(message)
        return message

    async def until(self, kind: str) -> dict[str, Any]:
        """Hear until a message, or an event, of this type has come; returns it."""
        while True:
            message = await self.hear()
            if kind in (message["type"], message.get("event", {}).get("type")):
                return message

    async def barrier(self) -> None:
        """Return once all that was said before has been handled, and what it led to has been heard."""
        await self.say("ping")
        await self.until("pong")

    async def closed(self) -> tuple[int, str]:
        """Hear to the end; returns code and reason."""
        try:
            while True:
                await self.hear()
        except ConnectionClosed as error:
            assert error.rcvd is not None
            return error.rcvd.code, error.rcvd.reason

    def kinds(self, generation: str) -> list[str]:
        """The types of its events."""
        return [seen.kind for seen in self.events.get(generation, [])]

    def viewer(self, generation: str, name: str = "socket") -> Viewer:
        """What came of a generation, for the history checker."""
        viewer = Viewer(name, generation)
        viewer.seen += self.events.get(generation, [])
        return viewer


@asynccontextmanager
async def open_socket(
    port: int,
    *,
    subprotocols: tuple[str, ...] = ("rejoinder.v1",),
    origin: str | None = None,
    path: str = "/v1/ws",
    **options: Any,
) -> AsyncGenerator[SocketClient]:
    """A client of ``/v1/ws`` on a port of this machine; ``name`` = what it takes the machine's name to be."""
    asked: dict[str, Any] = {"compression": None, "proxy": None, "host": "127.0.0.1", **options}
    offers = [Subprotocol(name) for name in subprotocols]
    asked |= {"subprotocols": offers or None, "origin": Origin(origin) if origin else None}
    url = f"ws://{asked.pop('name', '127.0.0.1')}:{port}{path}"
    async with connect(url, **asked) as connection:
        yield SocketClient(connection)
