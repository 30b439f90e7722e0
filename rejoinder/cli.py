"""The ``rejoinder`` command. Exit codes: see :mod:`rejoinder.exits`."""

from __future__ import annotations

from typing import Annotated

import typer

from rejoinder.commands import records, service, settings, stream

app = typer.Typer(
    name="rejoinder",
    help="LLM answers that survive every cut: submit, drop the connection, resume on any node.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_TRY, _USE, _RUN = "Start here", "Generations", "Operate"
app.command(rich_help_panel=_TRY)(service.demo)
app.command(rich_help_panel=_TRY)(service.dev)
app.command(rich_help_panel=_USE)(stream.submit)
app.command(rich_help_panel=_USE)(stream.tail)
app.command(rich_help_panel=_USE)(records.get)
app.command(rich_help_panel=_USE)(records.ls)
app.command(rich_help_panel=_USE)(records.cancel)
app.command(rich_help_panel=_RUN)(service.api)
app.command(rich_help_panel=_RUN)(service.worker)
app.command(rich_help_panel=_RUN)(settings.config)


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - slow, and rarely asked

        try:
            typer.echo(f"rejoinder {version('rejoinder')}")
        except PackageNotFoundError:
            typer.echo("rejoinder (not installed)")
        raise typer.Exit


@app.callback()
def main(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """LLM answers that survive every cut: submit, drop the connection, resume on any node."""
    del version
