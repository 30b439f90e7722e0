"""How a route leaves a stream with the outermost layer of the node (:mod:`api.edge`)."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.stream_response import EventStream

HANDED_OVER = "rejoinder.stream"
"""The key in the scope of the list that takes the stream."""


class HandOver(Response):
    """What a route returns to have its stream served."""

    def __init__(self, stream: EventStream) -> None:
        super().__init__()
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Leave the stream with the outermost layer."""
        del receive, send
        scope[HANDED_OVER].append(self._stream)
