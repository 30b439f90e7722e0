"""``submit`` and ``tail``: a generation live in the terminal."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rejoinder.exits import ExitCode
from rejoinder.options import DEFAULT_URL, ApiKey, GenerationId, Json, Url, run
from rejoinder.pairs import OptionError, json_pairs, text_pairs
from rejoinder.progress import Progress
from rejoinder.terminal import Screen

if TYPE_CHECKING:
    from rejoinder.client import Client
    from rejoinder.viewer import Viewer

Model = Annotated[str, typer.Argument(help="provider/name, for instance demo/demo-1.")]
Prompt = Annotated[str | None, typer.Argument(help="The prompt; - reads it from standard input.")]
Follow = Annotated[bool, typer.Option(help="Stream the answer, or only submit and print the id.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No status line and no summary.")]
Key = Annotated[str | None, typer.Option(help="Idempotency key: the same key gives the same generation.")]
Instructions = Annotated[str | None, typer.Option("--instructions", "-i", help="System instructions.")]
MaxTokens = Annotated[int | None, typer.Option("--max-tokens", min=1, help="Longest answer.")]
Temperature = Annotated[float | None, typer.Option(help="Sampling temperature.")]
Effort = Annotated[str | None, typer.Option(help="How much to reason: low, medium, high …")]
Metadata = Annotated[list[str] | None, typer.Option("--metadata", "-m", help="name=value to keep with it; repeatable.")]
ProviderOption = Annotated[
    list[str] | None,
    typer.Option("--option", "-o", help="name=value for the provider, e.g. tokens=200; repeatable."),
]
SetField = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", help="Any other field of the request, e.g. deadline_s=60; repeatable."),
]
RequestFile = Annotated[
    Path | None,
    typer.Option(
        "--request", exists=True, dir_okay=False, help="JSON file of request fields (messages, tools …); options win."
    ),
]
After = Annotated[str | None, typer.Option(help="Event id to go on behind; default: from the start.")]


def submit(
    model: Model,
    prompt: Prompt = None,
    *,
    instructions: Instructions = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = None,
    effort: Effort = None,
    option: ProviderOption = None,
    metadata: Metadata = None,
    set_field: SetField = None,
    request: RequestFile = None,
    key: Key = None,
    follow: Follow = True,
    as_json: Json = False,
    quiet: Quiet = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Submit a prompt and stream the answer. Ctrl-C detaches: the generation goes on."""
    named = {
        "instructions": instructions,
        "max_output_tokens": max_tokens,
        "temperature": temperature,
        "reasoning": {"effort": effort} if effort else None,
    }
    fields = _fields(named, set_field, metadata, option, request)
    text = _prompt(prompt, given="messages" in fields or "input" in fields)

    async def work(client: Client) -> ExitCode:
        asked_at = time.monotonic()
        record = await client.submit(model, text or fields.pop("input", None), idempotency_key=key, **fields)
        if not follow:
            typer.echo(record.to_json().decode() if as_json else record.id)
            return ExitCode.OK
        return await _show(client, Progress(record.id, asked_at), None, url, as_json=as_json, quiet=quiet)

    run(url, api_key, work)


def tail(
    generation: GenerationId,
    *,
    after: After = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Stream a generation, live or ended. Ctrl-C detaches and prints the command that resumes."""

    async def work(client: Client) -> ExitCode:
        return await _show(client, Progress(generation), after, url, as_json=as_json, quiet=quiet)

    run(url, api_key, work)


async def _show(
    client: Client, progress: Progress, after: str | None, url: str, *, as_json: bool, quiet: bool
) -> ExitCode:
    from rejoinder.follow import follow  # noqa: PLC0415 - brings the HTTP client with it
    from rejoinder.viewer import JsonViewer, TextViewer  # noqa: PLC0415 - imported on first use

    screen = Screen.of_process()
    viewer: Viewer = JsonViewer(screen) if as_json else TextViewer(screen, void_possible=after is not None, quiet=quiet)
    options = [*(["--url", url] if url != DEFAULT_URL else []), *(["--json"] if as_json else [])]
    return await follow(client, progress, viewer, screen, after=after, resume_options=tuple(options))


def _fields(
    named: dict[str, Any],
    further: list[str] | None,
    metadata: list[str] | None,
    options: list[str] | None,
    path: Path | None,
) -> dict[str, Any]:
    try:
        given = {**named, "metadata": text_pairs(metadata), "provider_options": json_pairs(options)}
        fields = {**_from_file(path), **(json_pairs(further) or {})}
    except OptionError as error:
        raise typer.BadParameter(str(error)) from error
    fields.update({name: value for name, value in given.items() if value is not None})
    fields.pop("model", None)
    return fields


def _prompt(prompt: str | None, *, given: bool) -> str | None:
    if prompt == "-" or (prompt is None and not given and not sys.stdin.isatty()):
        prompt = sys.stdin.read()
    if not prompt and not given:
        raise typer.BadParameter("a prompt is needed: as an argument, by - from standard input, or in --request")
    return prompt


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    import msgspec  # noqa: PLC0415 - only this option needs it

    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError, UnicodeError) as error:
        raise OptionError(f"{path} is not a JSON object: {error}") from error
