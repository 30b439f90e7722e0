"""An HTTP client that hides nothing: it sees chunks, and how a connection ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from types import TracebackType
from typing import Literal, Self

End = Literal["last chunk", "closed", "reset"]


class RawClient:
    """One connection, one request."""

    def __init__(self, port: int, *, version: str = "1.1", receive_buffer: int | None = None) -> None:
        self._port = port
        self._version = version
        self._receive_buffer = receive_buffer
        self.head = ""
        self.body = b""
        """The body without its chunks' framing."""
        self.end: End | None = None

    async def __aenter__(self) -> Self:
        sock = socket.socket()
        if self._receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._port))
        except OSError:
            sock.close()
            raise
        self._reader, self._writer = await asyncio.open_connection(sock=sock, limit=2**16)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def close(self) -> None:
        """Hang up."""
        self._writer.transport.abort()

    def pause(self) -> None:
        """Take nothing more from the socket."""
        self._writer.transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]

    def go_on(self) -> None:
        """Take from the socket again."""
        self._writer.transport.resume_reading()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)

    async def get(self, path: str, **headers: str) -> int:
        """Send a GET and read the head; returns the status."""
        lines = [f"GET {path} HTTP/{self._version}", "Host: localhost"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.send("\r\n".join([*lines, "", ""]).encode())
        return await self.read_head()

    async def read_head(self) -> int:
        """Read the status line and the headers; returns the status."""
        self.head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        return int(self.head.split(" ", 2)[1])

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return "transfer-encoding: chunked" in self.head

    async def read(self) -> bytes:
        """The next piece of the body; empty at its end, see ``end``."""
        try:
            data = await (self._read_chunk() if self.chunked else self._reader.read(65536))
        except ConnectionResetError:
            self.end = "reset"
            return b""
        if not data and self.end is None:
            self.end = "closed"
        self.body += data
        return data

    async def read_until(self, text: bytes) -> None:
        """Read until the body holds this text, or ends."""
        while text not in self.body and await self.read():
            pass

    async def read_all(self) -> End:
        """Read to the end."""
        while await self.read():
            pass
        assert self.end is not None
        return self.end

    async def _read_chunk(self) -> bytes:
        try:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            data = await self._reader.readexactly(size + 2)
        except asyncio.IncompleteReadError:
            return b""
        if size == 0:
            self.end = "last chunk"
        return data[:-2]
