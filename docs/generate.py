"""Write the tables and diagrams in the documents that the code itself can tell; ``--check`` only compares.

In a document, what stands between ``<!-- generated: NAME -->`` and ``<!-- /generated: NAME -->`` is written by the
function of that name below. Run it from anywhere: ``python docs/generate.py``.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from pydantic import BaseModel  # noqa: E402 - the path comes first
from pydantic.fields import FieldInfo  # noqa: E402

from api.errors import STATUS  # noqa: E402
from api.ws_frames import CLOSE_MEANINGS, Close, SocketError  # noqa: E402
from broker import errors  # noqa: E402
from broker.events import CONTENT_TYPES, EVENT_TYPES, Event, event_type  # noqa: E402
from broker.lifecycle import NEXT  # noqa: E402
from broker.record import ENDED  # noqa: E402
from broker.settings import FileConfig, ProviderConfig, Settings  # noqa: E402
from broker.stats import FleetStats  # noqa: E402
from broker.telemetry import NodeMetrics, render  # noqa: E402
from tests.clients.outcomes import HEADINGS, LABELS, SCENARIOS, outcome  # noqa: E402

ADVICE: dict[str, Any] = tomllib.loads((ROOT / "docs/error_advice.toml").read_text())
_BLOCK = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- /generated: \2 -->)", re.DOTALL)
_CODE_IN_WORKER = re.compile(
    r"""code=["']([a-z_]+)["'] | ErrorInfo\(\s*["']([a-z_]+)["'] | \(["']([a-z_]+)["'],\s(?:True|False)\)""", re.VERBOSE
)


class Stale(Exception):
    """The documents do not say what the code says."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    cells = [" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines]
    return "".join(f"| {line} |\n" for line in cells)


def first_line(documented: object) -> str:
    """The first line of a docstring, its code marked as Markdown wants it."""
    return (documented.__doc__ or "").strip().splitlines()[0].replace("``", "`").replace("<", "&lt;")


# -- lifecycle ------------------------------------------------------------------------------------------------------


def lifecycle_diagram() -> str:
    """The state table as a Mermaid diagram; content events are one arrow."""
    lines = ["```mermaid", "stateDiagram-v2"]
    for status, followers in NEXT.items():
        arrows: dict[str, list[str]] = {}
        for event, then in followers.items():
            name = "content" if event in CONTENT_TYPES else event_type(event)
            names = arrows.setdefault(then, [])
            if name not in names:
                names.append(name)
        source = status or "[*]"
        lines += [f"    {source} --> {then}: {', '.join(names)}" for then, names in arrows.items()]
        if status in ENDED:
            lines.append(f"    {status} --> [*]")
    return "\n".join([*lines, "```"]) + "\n"


def lifecycle_table() -> str:
    """Every event in every status."""
    head = ["event", *(f"in `{status}`" if status else "no log yet" for status in NEXT)]
    return table(head, [_lifecycle_row(event) for event in EVENT_TYPES])


def _lifecycle_row(event: type[Event]) -> list[str]:
    nexts = (followers.get(event) for followers in NEXT.values())
    return [f"`{event_type(event)}`", *(f"`{then}`" if then else "–" for then in nexts)]


# -- settings -------------------------------------------------------------------------------------------------------


def settings_table() -> str:
    """Every variable."""
    head = ["variable", "default", "unit", "allowed", "meaning"]
    return table(head, [_setting(name, info) for name, info in Settings.model_fields.items()])


def _setting(name: str, info: FieldInfo) -> list[str]:
    variable = info.validation_alias if isinstance(info.validation_alias, str) else f"REJOINDER_{name.upper()}"
    return [f"`{variable}`", _default(info), _unit(name), _allowed(info), info.description or ""]


def _default(info: FieldInfo) -> str:
    value: object = info.get_default(call_default_factory=True)
    if value is None or value in ({}, []):
        return "unset"
    return (
        f"`{value:g}`" if isinstance(value, float) else f"`{str(value).lower() if isinstance(value, bool) else value}`"
    )


def _unit(name: str) -> str:
    return {"s": "seconds", "bytes": "bytes"}.get(name.rpartition("_")[2], "")


def _allowed(info: FieldInfo) -> str:
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    found = [
        f"{sign} {getattr(rule, name)}" for rule in info.metadata for name, sign in signs.items() if hasattr(rule, name)
    ]
    choices: tuple[object, ...] = getattr(info.annotation, "__args__", ())
    words = [f"`{choice}`" for choice in choices if isinstance(choice, str)]
    return ", ".join([*found, *words])


def providers_table() -> str:
    """The keys of one provider's table in the TOML file."""
    return table(["key", "default", "meaning"], _model_rows(ProviderConfig))


def _model_rows(model: type[BaseModel]) -> Iterable[list[str]]:
    for name, info in model.model_fields.items():
        default = "required" if info.is_required() else _default(info)
        yield [f"`{name}`", default, info.description or ""]


def routes_table() -> str:
    """Where bare model names go unless the TOML file says otherwise."""
    return table(["glob", "provider"], [[f"`{glob}`", f"`{name}`"] for glob, name in FileConfig().routes.items()])


# -- metrics --------------------------------------------------------------------------------------------------------


def metrics_table() -> str:
    """Every metric, whose it is, and how to aggregate it."""
    node = NodeMetrics()
    node.broken["drain"] = 1
    own = {name for name, *_ in _families(render(node, None))}
    rows = [
        [f"`{name}`", kind, labels, *(("one node", "`sum`") if name in own else ("the fleet", "`max`")), meaning]
        for name, kind, labels, meaning in _families(render(node, FleetStats()))
    ]
    return table(["metric", "type", "labels", "counts", "over nodes", "meaning"], rows)


def _families(exposition: bytes) -> Iterable[tuple[str, str, str, str]]:
    text = exposition.decode()
    for name, meaning in re.findall(r"^# HELP (\S+) (.*)$", text, re.MULTILINE):
        kind = re.findall(rf"^# TYPE {name} (\w+)$", text, re.MULTILINE)[0]
        labels = {label for label in re.findall(rf"^{name}\w*{{(\w+)=", text, re.MULTILINE) if label != "le"}
        yield name, kind, ", ".join(f"`{label}`" for label in sorted(labels)), meaning


# -- errors ---------------------------------------------------------------------------------------------------------


def http_errors() -> str:
    """Every code that an HTTP answer may carry, with advice."""
    advice: dict[str, str] = ADVICE["http"]
    rows = [[*row, advice.get(code, "")] for code, row in _http_rows().items()]
    _same("http", set(advice), set(_http_rows()))
    return table(["code", "status", "retryable", "meaning", "what to do"], rows)


def http_codes() -> str:
    """The same without advice, for PROTOCOL.md."""
    return table(["code", "status", "retryable", "meaning"], _http_rows().values())


def _http_rows() -> dict[str, list[str]]:
    classes: dict[str, list[type[errors.RejoinderError]]] = {}
    for kind in STATUS:
        classes.setdefault(kind.code, []).append(kind)
    rows: dict[str, list[str]] = {}
    for code, kinds in classes.items():
        statuses = sorted({STATUS[kind].value for kind in kinds})
        meaning = " ".join(first_line(kind) for kind in kinds)
        retryable = "yes" if kinds[0].retryable else "no"
        rows[code] = [f"`{code}`", ", ".join(map(str, statuses)), retryable, meaning]
    return rows


def socket_errors() -> str:
    """Every code that only a WebSocket says."""
    advice: dict[str, str] = ADVICE["socket"]
    kinds = SocketError.__subclasses__()
    _same("socket", set(advice), {kind.code for kind in kinds})
    rows = [
        [f"`{kind.code}`", "yes" if kind.retryable else "no", first_line(kind), advice[kind.code]] for kind in kinds
    ]
    return table(["code", "retryable", "meaning", "what to do"], rows)


def socket_codes() -> str:
    """The same without advice, for PROTOCOL.md."""
    return table(["code", "meaning"], [[f"`{kind.code}`", first_line(kind)] for kind in SocketError.__subclasses__()])


def close_codes() -> str:
    """Every code that a WebSocket is closed with."""
    rows = [[f"`{code.value}`", "no" if code >= Close.BAD_MESSAGE else "yes", CLOSE_MEANINGS[code]] for code in Close]
    return table(["code", "come back", "meaning"], rows)


def generation_errors() -> str:
    """Every code that ``generation.failed`` may carry."""
    known: dict[str, dict[str, str]] = ADVICE["generation"]
    sources = "\n".join(path.read_text() for path in sorted((ROOT / "worker").rglob("*.py")))
    used = {code for codes in _CODE_IN_WORKER.findall(sources) for code in codes if code}
    _same("generation", set(known), used | {errors.UnknownModel.code, errors.LogFull.code})
    rows = [[f"`{code}`", row["retryable"], row["meaning"], row["advice"]] for code, row in sorted(known.items())]
    return table(["code", "retryable", "meaning", "what to do"], rows)


def inner_errors() -> str:
    """What never leaves the service."""
    kinds = [errors.WriterError, *errors.WriterError.__subclasses__(), errors.IllegalTransition]
    return table(["code", "meaning"], [[f"`{kind.code}`", first_line(kind)] for kind in kinds])


def _same(section: str, written: set[str], used: set[str]) -> None:
    if written != used:
        raise Stale(f"docs/error_advice.toml [{section}]: missing {used - written}, not in the code {written - used}")


# -- clients --------------------------------------------------------------------------------------------------------


def clients_table() -> str:
    """What every client does in every scenario, as the tests hold it to."""
    rows = [[label, *(outcome(client, scenario).says for scenario in SCENARIOS)] for client, label in LABELS.items()]
    return table(["client", *(HEADINGS[scenario] for scenario in SCENARIOS)], rows)


BLOCKS: dict[str, Callable[[], str]] = {
    "lifecycle-diagram": lifecycle_diagram,
    "lifecycle-table": lifecycle_table,
    "settings": settings_table,
    "providers": providers_table,
    "routes": routes_table,
    "metrics": metrics_table,
    "http-errors": http_errors,
    "http-codes": http_codes,
    "generation-errors": generation_errors,
    "inner-errors": inner_errors,
    "socket-errors": socket_errors,
    "socket-codes": socket_codes,
    "close-codes": close_codes,
    "clients": clients_table,
}


def documents() -> list[Path]:
    """All Markdown files that may hold generated blocks."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def updated(text: str) -> str:
    """The text with every generated block as the code has it now. Raises ``KeyError`` for an unknown block."""
    return _BLOCK.sub(lambda block: block[1] + BLOCKS[block[2]]() + block[3], text)


def main(arguments: Sequence[str]) -> int:
    """Write, or with ``--check`` only compare; 1 = something is stale and was not, or could not be, written."""
    check = "--check" in arguments
    try:
        fresh = {path: updated(path.read_text()) for path in documents()}
    except Stale as stale:
        print(stale)
        return 1
    changed = [path for path, text in fresh.items() if path.read_text() != text]
    for path in changed:
        print(f"{'stale' if check else 'written'}: {path.relative_to(ROOT)}")
        if not check:
            path.write_text(fresh[path])
    return 1 if check and changed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
