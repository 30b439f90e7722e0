"""``api``, ``worker``, ``dev`` and ``demo``: the service itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rejoinder.exits import ExitCode
from rejoinder.options import report

if TYPE_CHECKING:
    from broker.settings import Settings

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Serve off the loopback without keys, to anybody.")]
RedisUrl = Annotated[
    str | None,
    typer.Option("--redis-url", envvar="REJOINDER_REDIS_URL", help="Use this server; default: an embedded one."),
]
Data = Annotated[Path | None, typer.Option(file_okay=False, help="Keep the embedded server's data here.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show what the children print.")]
ReadyFile = Annotated[Path | None, typer.Option(dir_okay=False, help="Write a JSON file once everything is ready.")]


def api(*, host: Host = "127.0.0.1", port: Port = 8000, insecure: Insecure = False) -> None:
    """Run one stateless API node. Scale by processes."""
    load_settings()
    from api.auth import InsecureBind  # noqa: PLC0415 - the server's libraries are only for this command
    from api.main import run  # noqa: PLC0415 - imported on first use
    from broker.errors import UnfitServer  # noqa: PLC0415 - imported on first use

    try:
        run(host=host, port=port, insecure=insecure)
    except InsecureBind as error:
        report(str(error), "insecure_bind", "set REJOINDER_API_KEYS=tenant:key, or say --insecure if you mean it")
        raise typer.Exit(ExitCode.USAGE) from None
    except UnfitServer as error:
        raise _unfit(error) from None
    except OSError as error:
        report(f"{host}:{port} can't be used: {error.strerror or error}", "address", "choose another --port or --host")
        raise typer.Exit(ExitCode.FAILED) from None


def worker() -> None:
    """Run one worker: many generations at once. Scale by processes."""
    settings = load_settings()
    from broker.errors import UnfitServer  # noqa: PLC0415 - imported on first use
    from worker.main import run  # noqa: PLC0415 - the worker's libraries are only for this command

    try:
        run(settings)
    except UnfitServer as error:
        raise _unfit(error) from None


def _unfit(error: Exception) -> typer.Exit:
    report(str(error), "unfit_server", "docs/operations.md says what a Redis needs")
    return typer.Exit(ExitCode.USAGE)


def dev(
    *,
    port: Port = 8000,
    redis_url: RedisUrl = None,
    data: Data = None,
    verbose: Verbose = False,
    ready_file: ReadyFile = None,
) -> None:
    """Run everything on this machine: embedded server, worker, two nodes behind one port, the web page."""
    load_settings()
    from rejoinder.dev_console import run_dev  # noqa: PLC0415 - brings asyncio and rich with it

    code = asyncio.run(run_dev(port=port, redis_url=redis_url, data_dir=data, verbose=verbose, ready_file=ready_file))
    raise typer.Exit(code)


def demo() -> None:
    """Prove it: one answer over two cut connections and two nodes, nothing lost and nothing twice."""
    from rejoinder.demo import main  # noqa: PLC0415 - brings asyncio and rich with it

    raise typer.Exit(main())


def load_settings() -> Settings:
    """The settings of this process from its environment; exits with 2, naming the variable, when one does not hold."""
    from pydantic import ValidationError  # noqa: PLC0415 - slow to import, and --help needs none of it

    from broker.settings import Settings  # noqa: PLC0415 - imported on first use
    from rejoinder.settings_view import problems  # noqa: PLC0415 - imported on first use

    try:
        return Settings()
    except ValidationError as error:
        for name, problem in problems(error):
            report(problem, "invalid_setting", "`rejoinder config` lists every setting", field=name)
        raise typer.Exit(ExitCode.USAGE) from None
