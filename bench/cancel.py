"""Cancel at a node -> the provider's socket closed, through HTTP and a worker of its own process."""

from __future__ import annotations

import asyncio

import httpx2


class Upstream:
    """An OpenAI-compatible provider that talks forever and notes when it is hung up on."""

    def __init__(self) -> None:
        self.closed: asyncio.Queue[float] = asyncio.Queue()
        self.talking: asyncio.Queue[None] = asyncio.Queue()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def open(self) -> None:
        """Listen on a free port of the loopback."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        chunk = (
            b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
            b'"choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}\n\n'
        )
        writer.write(head)
        talk = asyncio.get_running_loop().create_task(self._talk(writer, chunk))
        while await reader.read(65536):
            pass
        self.closed.put_nowait(asyncio.get_running_loop().time())
        talk.cancel()
        writer.close()

    async def _talk(self, writer: asyncio.StreamWriter, chunk: bytes) -> None:
        self.talking.put_nowait(None)
        while True:
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()


async def measure(url: str, model: str, upstream: Upstream, rounds: int) -> tuple[list[float], list[int]]:
    """Milliseconds from the cancel's being sent to the hang-up, and the status of every second cancel."""
    loop = asyncio.get_running_loop()
    took: list[float] = []
    again: list[int] = []
    async with httpx2.AsyncClient(base_url=url, timeout=20) as http:
        for _ in range(rounds):
            made = (await http.post("/v1/generations", json={"model": model, "input": "talk"})).json()
            await upstream.talking.get()
            begun = loop.time()
            cancel = loop.create_task(http.post(f"/v1/generations/{made['id']}/cancel"))
            took.append((await upstream.closed.get() - begun) * 1000)
            await cancel
            again.append((await http.post(f"/v1/generations/{made['id']}/cancel")).status_code)
    return took, again
