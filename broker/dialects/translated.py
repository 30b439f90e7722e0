"""What all dialects end in: the canonical request as it is kept, with what was left out of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from broker.dialects.reading import Fields
from broker.errors import InvalidRequest
from broker.request import Dialect, StoredRequest, Wire

OURS = ("on_worker_loss", "on_provider_loss", "on_disconnect", "retention_s", "deadline_s", "delivery")
"""What a client of any dialect may say about the generation itself, in an object ``rejoinder`` of the body."""


@dataclass(frozen=True, slots=True)
class Translated:
    """A request of another dialect's; ``ignored`` names the hints that say nothing to this provider."""

    request: StoredRequest
    ignored: tuple[str, ...] = ()
    stream: bool = False
    background: bool = False
    store: bool = True


def ours_of(fields: Fields) -> dict[str, Any]:
    """What the body says in our own words, under ``rejoinder``."""
    node = fields.take("rejoinder")
    if node is None:
        return {}
    inner = node.fields()
    ours = {name: found.value for name in OURS if (found := inner.take(name))}
    inner.done()
    return ours


def stored(
    fields: Fields,
    given: Mapping[str, Any],
    options: Mapping[str, Any],
    names: Mapping[str, str],
    dialect: Dialect,
    echo: dict[str, Any],
) -> StoredRequest:
    """The canonical request of what was read, and a refusal of what nobody has read.

    ``options`` go to the provider as they are. ``names``: what a canonical field is called in this dialect, where it is
    called otherwise.

    Raises :class:`InvalidRequest` naming the field of the dialect.
    """
    fields.done()
    whole = {name: value for name, value in given.items() if value is not None}
    whole |= {"provider_options": dict(options) or None, "wire": Wire(dialect=dialect, echo=echo)}
    try:
        return StoredRequest.model_validate({"on_worker_loss": "continue", **whole})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "messages"
        field = f"rejoinder.{name}" if name in OURS else names.get(name, name)
        raise InvalidRequest(f"{field}: {first['msg']}", field=field) from error
