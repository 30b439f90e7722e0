"""The nginx configuration in docs/operations.md, in front of a running service."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from rejoinder.dev import DevStack
from rejoinder.ports import free_port
from tests.api.socket_client import open_socket
from tests.docs.blocks import all_blocks
from tests.docs.shell import Shell, tool, wait_for, wait_for_events
from tests.support.history import check

pytestmark = [
    pytest.mark.commands,
    pytest.mark.timeout(90),
    pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx; CI installs it"),
]

_MAIN = """
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    {block}
}}
"""


@contextmanager
def _nginx(directory: Path, nodes: list[str]) -> Generator[str]:
    """The documented configuration with our ports; gives the front's address."""
    front = free_port()
    (block,) = (block.code for block in all_blocks() if block.language == "nginx")
    for theirs, node in zip(("8001", "8002"), nodes, strict=True):
        block = block.replace(theirs, node.rpartition(":")[2])
    block = block.replace("listen 8000", f"listen 127.0.0.1:{front}")
    config = directory / "nginx.conf"
    config.write_text(_MAIN.format(dir=directory, block=block))
    command = [tool("nginx"), "-p", str(directory), "-e", str(directory / "error.log"), "-c", str(config)]
    process = subprocess.Popen([*command, "-g", "daemon off;"])
    try:
        yield f"127.0.0.1:{front}"
    finally:
        process.terminate()
        process.wait(10)


async def test_event_source_survives_killed_nodes_behind_nginx(tmp_path: Path) -> None:
    """Both nodes are killed in the middle: the browser's example still ends with the whole answer."""
    (example,) = (block for block in all_blocks() if block.document == "README.md" and block.language == "js")
    async with DevStack(isolated=True) as stack:
        with _nginx(tmp_path, list(stack.nodes.values())) as front:
            shell = Shell(tmp_path, front)
            await wait_for(front)
            running = asyncio.ensure_future(asyncio.to_thread(shell.run, example))
            await wait_for_events(stack.nodes.values(), 10)
            for name in stack.nodes:
                stack.kill(name)
            assert "Nothing was lost — not one word." in await running


async def test_a_stream_that_breaks_is_not_a_clean_end_behind_nginx(tmp_path: Path) -> None:
    """A reader whose node dies sees an error of the connection, and so does one who asks while no node is up."""
    async with DevStack(isolated=True) as stack:
        with _nginx(tmp_path, list(stack.nodes.values())) as front:
            await wait_for(front)
            body = '{"model":"demo/demo-1","input":"x","provider_options":{"tokens":2000}}'
            url = f"http://{front}/v1/generations"
            command = [tool("curl"), "-sN", "--max-time", "20", url, "-H", "Accept: text/event-stream", "--json", body]
            reading = asyncio.ensure_future(
                asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
            )
            await wait_for_events(stack.nodes.values(), 10)
            for name in stack.nodes:
                stack.kill(name)
            done = await reading
            late = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
    partial, empty, timeout = 18, 52, 28
    assert done.returncode not in (0, timeout)
    assert b"text.delta" in done.stdout
    assert late.returncode in (partial, empty, 56)


async def test_a_socket_passes_nginx(tmp_path: Path) -> None:
    """Upgrade and close codes come through; a node that dies is a lost connection, and the other one goes on."""
    async with DevStack(isolated=True) as stack:
        with _nginx(tmp_path, list(stack.nodes.values())) as front:
            await wait_for(front)
            port = int(front.rpartition(":")[2])
            # It ends when the test says so: the nodes die in its middle, however late that is.
            body = {"model": "demo/demo-1", "input": "x", "provider_options": {"tokens": 10_000, "rate": 100}}
            async with open_socket(port) as client:
                await client.say("submit", ref=1, request=body)
                generation = (await client.until("accepted"))["id"]
                await client.until("text.delta")
                for name in stack.nodes:
                    stack.kill(name)
                with pytest.raises(ConnectionClosed):
                    await client.until("generation.cancelled")
                viewer = client.viewer(generation)
            await wait_for(front)
            async with open_socket(port) as client:
                after = next(seen.id for seen in reversed(viewer.seen) if seen.id)
                await client.say("subscribe", id=generation, after=after)
                await client.say("cancel", id=generation)
                await client.until("generation.cancelled")
                viewer.seen += client.events[generation]
                await client.connection.send("nonsense")
                assert (await client.closed())[0] == 4500
    assert check([viewer]) == []
