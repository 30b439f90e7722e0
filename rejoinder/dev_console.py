"""``rejoinder dev`` as people see it: one banner, the children's words on request, an orderly end."""

from __future__ import annotations

import asyncio
import errno
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from rich.console import Console
from rich.text import Text

from rejoinder.dev import DevError, DevStack
from rejoinder.exits import ExitCode
from rejoinder.options import DEFAULT_URL
from rejoinder.sanitize import neutralise

_COLOURS = {"node-a": "cyan", "node-b": "magenta", "worker": "yellow"}
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def run_dev(
    *, port: int, redis_url: str | None, data_dir: Path | None, verbose: bool, ready_file: Path | None
) -> ExitCode:
    """Run the service until SIGINT, SIGTERM or SIGHUP; a second one ends it at once. Answers with the exit code."""
    console = Console(stderr=True, highlight=False)

    def on_line(name: str, line: str) -> None:
        if verbose:
            console.print(Text.assemble((f"{name:>7} │ ", _COLOURS.get(name, "dim")), neutralise(line)), soft_wrap=True)

    def on_note(note: str) -> None:
        console.print(Text(f"• {note}", style="yellow"))

    stack = DevStack(port=port, redis_url=redis_url, data_dir=data_dir, on_line=on_line, on_note=on_note)
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        with _stop_on_signal(stack) as stop:
            async with stack:
                console.print(_banner(stack, loop.time() - started), soft_wrap=True)
                if ready_file is not None:
                    _write_ready_file(ready_file, stack)
                await stop.wait()
                console.print(Text("stopping … (Ctrl-C again: at once)", style="dim"))
    except DevError as error:
        console.print(Text(f"error: {neutralise(str(error))}", style="red"))
        return ExitCode.FAILED
    except OSError as error:
        console.print(Text(f"error: {_port_trouble(port, error)}", style="red"), soft_wrap=True)
        console.print(Text(f"next:  rejoinder dev --port {port + 1}", style="dim"))
        return ExitCode.FAILED
    except asyncio.CancelledError:
        return ExitCode.INTERRUPTED
    finally:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)  # noqa: ASYNC240 - nothing else runs any more
    return ExitCode.OK


@contextmanager
def _stop_on_signal(stack: DevStack) -> Generator[asyncio.Event]:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    task = asyncio.current_task()

    def on_signal() -> None:
        if stop.is_set():
            stack.abandon()
        elif not stack.entered and task is not None:
            task.cancel()
        stop.set()

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        yield stop
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _banner(stack: DevStack, took_s: float) -> Text:
    log = "embedded, private to this run" if stack.embedded else "REJOINDER_REDIS_URL"
    nodes = ", ".join(f"{name} :{url.rpartition(':')[2]}" for name, url in stack.nodes.items())
    where = "" if stack.url == DEFAULT_URL else f" --url {stack.url}"
    return Text.assemble(
        ("\n  Rejoinder", "bold"),
        (f"  ready in {took_s:.1f} s\n\n", "dim"),
        ("  url    ", "dim"),
        (stack.url, "bold cyan"),
        ("\n  log    ", "dim"),
        log,
        ("\n  nodes  ", "dim"),
        f"{nodes}, taken in turn",
        ("\n\n  try    ", "dim"),
        f"rejoinder submit demo/demo-1 'hello'{where}",
        ("\n         ", ""),
        f"curl -N {stack.url}/v1/generations -H 'Accept: text/event-stream' ",
        """--json '{"model":"demo/demo-1","input":"hello"}'""",
        ("\n\n  Ctrl-C stops everything\n", "dim"),
    )


def _write_ready_file(path: Path, stack: DevStack) -> None:
    facts = {"url": stack.url, "nodes": stack.nodes, "redis_url": stack.redis_url, "pids": stack.pids}
    partial = path.with_name(path.name + ".part")
    # The URL of the embedded server holds its password.
    partial.touch(mode=0o600)
    partial.write_bytes(msgspec.json.encode(facts))
    partial.replace(path)


def _port_trouble(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on 127.0.0.1 is taken by another program, maybe another `rejoinder dev`"
    return f"port {port} on 127.0.0.1 can't be used: {error.strerror}"
