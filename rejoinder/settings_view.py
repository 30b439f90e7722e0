"""Every setting with its value, where the value comes from, and what it means; secrets are never shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import cast
from urllib.parse import urlsplit, urlunsplit

import msgspec
from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from broker.settings import Settings
from rejoinder.sanitize import one_line

PREFIX = "REJOINDER_"
_HIDDEN = "•••"


@dataclass(frozen=True, slots=True)
class Row:
    """One setting as it is shown."""

    name: str
    """The environment variable; for what stands in the TOML file, its table."""
    value: str
    source: str
    """``default``, ``env`` or ``file``."""
    description: str


def rows(settings: Settings, environment: Mapping[str, str]) -> list[Row]:
    """All settings; ``environment`` maps the upper-case names of the variables that are set."""
    found: list[Row] = []
    for field, info in Settings.model_fields.items():
        name = variable_name(field, info)
        source = "env" if name.upper() in environment else "default"
        found.append(Row(name, show(getattr(settings, field)), source, info.description or ""))
    file = settings.file()
    source = "file" if settings.config is not None else "default"
    for name, provider in file.providers.items():
        found.append(Row(f"[providers.{name}]", _hide_userinfo(provider.base_url), "file", f"kind {provider.kind}"))
    routes = ", ".join(f"{glob} → {name}" for glob, name in file.routes.items())
    found.append(Row("[routes]", routes, source, "Where bare model names go"))
    return found


def variable_name(field: str, info: FieldInfo) -> str:
    """The environment variable of a field."""
    alias = info.validation_alias
    return alias if isinstance(alias, str) else f"{PREFIX}{field.upper()}"


def show(value: object) -> str:
    """A value as text: secrets hidden, also those inside a URL."""
    match value:
        case None:
            return ""
        case SecretStr():
            return _HIDDEN
        case dict():
            pairs = cast("dict[object, object]", value)
            return ", ".join(f"{name}:{show(inner)}" for name, inner in pairs.items())
        case list():
            return ", ".join(show(item) for item in cast("list[object]", value))
        case str():
            return _hide_userinfo(value)
        case _:
            return str(value)


def problems(error: ValidationError) -> Iterator[tuple[str, str]]:
    """(variable, what is wrong) for each field at fault; the offending value is not repeated, it may be secret."""
    for detail in error.errors(include_input=False, include_url=False):
        place = str(detail["loc"][0]) if detail["loc"] else ""
        info = Settings.model_fields.get(place)
        name = variable_name(place, info) if info is not None else place.upper() or f"{PREFIX}CONFIG"
        yield name, str(detail["msg"])


def print_rows(table_rows: list[Row], console: Console | None = None) -> None:
    """The settings as a table; what is not default stands out."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold", min_width=8)
    table.add_column("source")
    table.add_column("meaning", style="dim")
    for row in table_rows:
        style = "" if row.source == "default" else "bold green"
        value = Text(one_line(row.value) or "unset", style=style if row.value else "dim")
        table.add_row(Text(row.name), value, Text(row.source, style=style or "dim"), Text(row.description))
    (console or Console()).print(table)


def to_json(table_rows: list[Row]) -> str:
    """The same as a JSON array of objects."""
    return msgspec.json.encode([asdict(row) for row in table_rows]).decode()


def _hide_userinfo(text: str) -> str:
    parts = urlsplit(text)
    if parts.password is None:
        return text
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:{_HIDDEN}@{host}"))
