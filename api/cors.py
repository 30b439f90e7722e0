"""Which pages of other origins may call, and which headers of ours they may read."""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.responses import Response

from api.wire import Headers as RawHeaders
from broker.errors import Forbidden

EXPOSED = (
    b"Location, X-Rejoinder-Node, X-Generation-Id, X-Rejoinder-Ignored, Retry-After, Idempotent-Replayed, "
    b"X-Request-Id, Request-Id, X-Workflow-Run-Id, X-Workflow-Stream-Tail-Index"
)
METHODS = "GET, POST, DELETE, OPTIONS"
_USUAL_HEADERS = "authorization, x-api-key, content-type, idempotency-key, last-event-id"
_HEADER_LIST = re.compile(r"[A-Za-z0-9_-]+(?: *, *[A-Za-z0-9_-]+)*", re.ASCII)
_MAX_AGE_S = "600"


class Cors:
    """The configured origins; ``*`` = any. Credentials are never allowed: keys travel in headers, not in cookies."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origins)

    def headers(self, request: Headers) -> RawHeaders:
        """What a response to this request carries."""
        origin = request.get("origin")
        if not self._origins:
            return []
        if origin is None or not self._permits(origin):
            return [] if self._any else [(b"vary", b"Origin")]
        allowed = b"*" if self._any else origin.encode("latin-1")
        headers: RawHeaders = [
            (b"access-control-allow-origin", allowed),
            (b"access-control-expose-headers", EXPOSED),
        ]
        return headers if self._any else [*headers, (b"vary", b"Origin")]

    def preflight(self, request: Headers) -> Response:
        """The answer to a preflight request. Raises ``Forbidden`` for an origin that is not configured."""
        if not self._permits(request.get("origin", "")):
            raise Forbidden("this origin may not call (REJOINDER_CORS_ORIGINS)")
        asked = request.get("access-control-request-headers", "")
        return Response(
            status_code=204,
            headers={
                "access-control-allow-methods": METHODS,
                "access-control-allow-headers": asked if _HEADER_LIST.fullmatch(asked) else _USUAL_HEADERS,
                "access-control-max-age": _MAX_AGE_S,
            },
        )

    def _permits(self, origin: str) -> bool:
        return self._any or origin in self._origins


def is_preflight(method: str, request: Headers) -> bool:
    """Whether a browser asks before it calls."""
    return method == "OPTIONS" and "origin" in request and "access-control-request-method" in request
