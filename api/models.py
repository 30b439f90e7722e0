"""``/v1/models``: the models that are known by name, as both OpenAI's and Anthropic's clients read them."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, Response

from api.auth import Tenant
from api.node import TheNode
from api.openapi import MODEL, MODELS

router = APIRouter(prefix="/v1/models", tags=["operations"])

_JSON = "application/json"
_UNKNOWN_TIME = "1970-01-01T00:00:00Z"
"""Nobody tells when a model was made; both clients want a time."""


@router.get("", **MODELS)
async def models(node: TheNode, tenant: Tenant) -> Response:
    """All of them, on one page."""
    del tenant
    data = [_model(name) for name in node.models.known_models()]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    return Response(msgspec.json.encode({"object": "list", "data": data, "has_more": False, **ends}), media_type=_JSON)


@router.get("/{name:path}", **MODEL)
async def model(node: TheNode, tenant: Tenant, name: str) -> Response:
    """One that some provider serves, whether it is on the list or not. Raises ``UnknownModel``."""
    del tenant
    node.models.resolve(name)
    return Response(msgspec.json.encode(_model(name)), media_type=_JSON)


def _model(name: str) -> dict[str, Any]:
    ours = {"id": name, "object": "model", "created": 0, "owned_by": name.partition("/")[0]}
    return ours | {"type": "model", "display_name": name, "created_at": _UNKNOWN_TIME, "lifecycle": "active"}
