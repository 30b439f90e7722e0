"""``get``, ``ls`` and ``cancel``: what the server knows about generations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rejoinder.exits import ExitCode
from rejoinder.options import DEFAULT_URL, ApiKey, GenerationId, Json, Url, run

if TYPE_CHECKING:
    from rejoinder.client import Client

Wait = Annotated[bool, typer.Option("--wait", help="Wait for its end first.")]
Text = Annotated[bool, typer.Option("--text", help="Print the answer's bare text and nothing else.")]
Status = Annotated[str | None, typer.Option(help="Only these: queued, running, completed, failed, cancelled.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=100, help="How many, newest first.")]


def get(
    generation: GenerationId,
    *,
    wait: Wait = False,
    text: Text = False,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Show one generation: what was asked, how it went, the answer so far."""

    async def work(client: Client) -> ExitCode:
        from rejoinder.records_view import print_record, print_text  # noqa: PLC0415 - rich is slow to import

        record = await (client.wait(generation) if wait else client.get(generation))
        if as_json:
            typer.echo(record.to_json().decode())
        elif text:
            print_text(record)
        else:
            print_record(record)
        return ExitCode.OK

    run(url, api_key, work)


def ls(
    *,
    status: Status = None,
    limit: Limit = 20,
    as_json: Json = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """List generations, newest first."""

    async def work(client: Client) -> ExitCode:
        from rejoinder.records_view import print_list  # noqa: PLC0415 - rich is slow to import

        page = await client.list(status=status, limit=limit)
        if as_json:
            for record in page.records:
                typer.echo(record.to_json().decode())
        else:
            print_list(page.records)
        return ExitCode.OK

    run(url, api_key, work)


def cancel(generation: GenerationId, *, as_json: Json = False, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """Stop a generation, and paying for it. What has come so far stays readable."""

    async def work(client: Client) -> ExitCode:
        record = await client.cancel(generation)
        if as_json:
            typer.echo(record.to_json().decode())
        elif record.ended:
            typer.echo(f"{record.id} {record.status}")
        else:
            typer.echo(f"{record.id} is being cancelled")
        return ExitCode.OK

    run(url, api_key, work)
