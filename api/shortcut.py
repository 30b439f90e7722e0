"""The way of a plain read past the framework: half of what accepting a viewer costs is FastAPI's solving of parameters.

Only what is in order goes this way. Everything else takes the route, which has the last word on what is wrong with it;
a test holds both to the same answers.
"""

from __future__ import annotations

import re
from typing import get_args
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Scope

from api.door import Replay
from api.formats import FOLDS, FORMATS, MEDIA_TYPES
from api.node import Node
from api.params import preferred
from api.streams import answer
from broker.errors import RejoinderError
from broker.position import Cursor, parse_cursor

_PATH = re.compile(r"/v1/generations/([A-Za-z0-9_-]{1,128})/events", re.ASCII)
_REPLAYS: tuple[Replay, ...] = get_args(Replay)


async def shortcut(node: Node, scope: Scope, headers: Headers) -> Response | None:
    """The answer to a plain ``GET …/events``; None = let the framework answer. Raises what its route would raise."""
    path = _PATH.fullmatch(scope["path"]) if scope["method"] == "GET" else None
    if path is None or scope.get("root_path"):
        return None
    asked = _asked(scope["query_string"], headers)
    if asked is None:
        return None
    try:
        tenant = node.keyring.tenant(headers)
    except RejoinderError:
        return None
    return await answer(node, tenant, path[1], *asked)


def _asked(query: bytes, headers: Headers) -> tuple[Cursor, str, Replay] | None:
    """Position, format and kind of replay; None where anything about them is unusual."""
    given = parse_qsl(query.decode("latin-1"), keep_blank_values=True) if query else []
    values = dict(given)
    if len(values) != len(given):
        return None
    name = values.pop("format") if "format" in values else preferred(headers.get("accept"), MEDIA_TYPES) or "native"
    replay = values.pop("replay", "merged")
    text = headers.get("last-event-id")
    queries = values.pop("last_event_id", None), values.pop("lastEventId", None)
    if values or (name not in FORMATS and name not in FOLDS) or replay not in _REPLAYS:
        return None
    if text is None:
        text = queries[0] if queries[0] is not None else queries[1]
    try:
        return parse_cursor(text), name, replay
    except RejoinderError:
        return None
