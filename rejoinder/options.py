"""Options that several commands share, and the one way they run a client and report its errors."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from broker.errors import RejoinderError
from rejoinder.exits import ExitCode, exit_code, next_step
from rejoinder.sanitize import one_line
from rejoinder.terminal import DIM, RED, Screen

if TYPE_CHECKING:
    from rejoinder.client import Client

DEFAULT_URL = "http://127.0.0.1:8000"
_REQUEST_PATIENCE_S = 4.0
"""A person at a terminal would rather hear soon that there is no server."""

Url = Annotated[str, typer.Option("--url", envvar="REJOINDER_URL", help="Base URL of the server.")]
ApiKey = Annotated[
    str | None, typer.Option("--api-key", envvar="REJOINDER_API_KEY", help="Key or access token.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
GenerationId = Annotated[str, typer.Argument(metavar="ID", help="The generation, gen_…")]


def run(url: str, api_key: str | None, work: Callable[[Client], Coroutine[Any, Any, ExitCode]]) -> NoReturn:
    """Run the work with a connected client, report its error if it has one, and exit.

    Raises:
        typer.Exit: always, with the code of the table in :mod:`rejoinder.exits`.
    """
    from rejoinder.backoff import Patience  # noqa: PLC0415 - only the commands that need HTTP pay for it
    from rejoinder.client import Client  # noqa: PLC0415 - imported on first use

    async def main() -> ExitCode:
        async with Client(url, api_key, patience=Patience(request_give_up_after_s=_REQUEST_PATIENCE_S)) as client:
            return await work(client)

    try:
        code = asyncio.run(main())
    except RejoinderError as error:
        report(error.message, error.code, next_step(error.code, retry_after_s=error.retry_after_s), field=error.field)
        code = exit_code(error)
    except ValueError as error:
        report(str(error), "usage", None)
        code = ExitCode.USAGE
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes standard output once more on its way out, and would complain about the same thing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.PIPE_CLOSED
    raise typer.Exit(code)


def report(message: str, code: str, step: str | None, *, field: str | None = None) -> None:
    """An error on standard error: what happened, and what to do next."""
    screen = Screen.of_process()
    where = f" (field {one_line(field, 80)})" if field else ""
    text = one_line(message) if screen.err_is_tty else message
    screen.err.write(screen.paint(f"error: {text}{where} [{one_line(code, 60)}]", RED) + "\n")
    if step:
        screen.err.write(screen.paint(f"next:  {step}", DIM) + "\n")
    screen.err.flush()
