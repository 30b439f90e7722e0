"""Records as people like to read them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from broker.record import Record
from rejoinder.sanitize import neutralise, one_line

_STYLES = {"queued": "yellow", "running": "cyan", "completed": "green", "failed": "red", "cancelled": "magenta"}
_MINUTE = 60
_HOUR = 3600
_DAY = 86400


def print_text(record: Record) -> None:
    """The bare text of the answer so far; neutralised on a terminal, byte for byte elsewhere."""
    text = record.output.text if record.output is not None else ""
    if sys.stdout.isatty():
        text = neutralise(text) + "\n"
    sys.stdout.write(text)
    sys.stdout.flush()


def print_record(record: Record, console: Console | None = None) -> None:
    """One record, with its answer below."""
    console = console or Console()
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in _facts(record):
        table.add_row(name, value if isinstance(value, Text) else Text(value))
    console.print(table)
    output = record.output
    if output is None:
        console.print(Text("the log has passed its retention: no output is left", style="dim"))
        return
    sections = [("reasoning", output.reasoning, "dim"), ("text", output.text, ""), ("refusal", output.refusal, "red")]
    for name, text, style in sections:
        if text:
            console.print(Text(name, style="bold dim"))
            console.print(Padding(Text(neutralise(text), style=style), (0, 0, 0, 2)))
    for call in output.tool_calls:
        unfinished = "" if call.complete else " …"
        console.print(Text(f"→ {one_line(call.name)}({one_line(call.arguments)}){unfinished}", style="bold"))


def print_list(records: Sequence[Record], console: Console | None = None, now: float | None = None) -> None:
    """One line for each record; ``now`` is Unix seconds."""
    console = console or Console()
    if not records:
        console.print(Text("no generations yet: rejoinder submit demo/demo-1 'hello'", style="dim"))
        return
    now = datetime.now(UTC).timestamp() if now is None else now
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("id", "status", "model"):
        table.add_column(name, no_wrap=name == "id")
    table.add_column("age", justify="right")
    table.add_column("tokens", justify="right")
    for record in records:
        tokens = record.usage.output_tokens if record.usage is not None else None
        table.add_row(
            one_line(record.id, 80),
            _status(record),
            one_line(record.model, 60),
            _age(now - record.created_at),
            "" if tokens is None else str(tokens),
        )
    console.print(table)


def _facts(record: Record) -> list[tuple[str, str | Text]]:
    facts: list[tuple[str, str | Text]] = [
        ("id", one_line(record.id, 80)),
        ("status", _status(record)),
        ("model", one_line(record.model)),
        ("created", _clock(record.created_at)),
    ]
    if record.finished_at is not None:
        facts.append(("finished", _clock(record.finished_at)))
    if record.attempt > 1:
        facts.append(("attempt", str(record.attempt)))
    if record.last_event_id is not None:
        facts.append(("last event", one_line(record.last_event_id, 80)))
    if record.usage is not None:
        facts.append(("tokens", f"{record.usage.input_tokens or 0} in, {record.usage.output_tokens or 0} out"))
    timing = record.timing
    if timing is not None and timing.ttft_ms is not None:
        facts.append(("first token", f"{timing.ttft_ms / 1000:.2f} s"))
    if timing is not None and timing.tokens_per_second is not None:
        facts.append(("speed", f"{timing.tokens_per_second:.1f} tokens/s"))
    if record.error is not None:
        facts.append(("error", Text(one_line(f"{record.error.message} [{record.error.code}]"), style="red")))
    facts.extend((one_line(name, 64), one_line(value)) for name, value in record.metadata.items())
    return facts


def _status(record: Record) -> Text:
    reason = f" ({record.finish_reason})" if record.finish_reason else ""
    return Text(f"{record.status}{reason}", style=_STYLES.get(record.status, ""))


def _clock(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _age(seconds: float) -> str:
    seconds = max(0.0, seconds)
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"
