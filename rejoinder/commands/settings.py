"""``config``: what the settings are, and where they come from."""

from __future__ import annotations

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def config(*, as_json: AsJson = False) -> None:
    """Show every setting, its value and its source; secrets are hidden."""
    from rejoinder.commands.service import load_settings  # noqa: PLC0415 - pydantic is slow to import
    from rejoinder.environment import set_names  # noqa: PLC0415 - imported on first use
    from rejoinder.settings_view import print_rows, rows, to_json  # noqa: PLC0415 - imported on first use

    table = rows(load_settings(), set_names())
    if as_json:
        typer.echo(to_json(table))
    else:
        print_rows(table)
