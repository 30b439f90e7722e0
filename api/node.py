"""What one API node holds: built by ``api.app``, found by the handlers through the request."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated

from fastapi import Depends, Request

from api.auth import Keyring
from api.door import Door, Models
from api.drain import Drain
from api.formats.folded import Points
from api.limits import SubmitLimit
from api.pulse import Pulse
from api.stream_response import Terms
from broker.settings import Settings
from broker.telemetry import NodeMetrics

_NOT_FOR_A_HEADER = re.compile(r"[^\x21-\x7e]+", re.ASCII)


@dataclass(kw_only=True)
class Node:
    """The parts of a node. ``broker`` can be used inside the app's lifespan only."""

    settings: Settings
    models: Models
    keyring: Keyring
    submit_limit: SubmitLimit
    drain: Drain = field(default_factory=Drain)
    metrics: NodeMetrics = field(default_factory=NodeMetrics)
    points: Points = field(default_factory=Points)
    door: Door | None = None

    @property
    def broker(self) -> Door:
        """The open broker. Raises ``RuntimeError`` outside the lifespan."""
        if self.door is None:
            raise RuntimeError("the broker is not open: the app's lifespan has not begun, or is over")
        return self.door

    @cached_property
    def terms(self) -> Terms:
        """What all its streams share."""
        settings = self.settings
        return Terms(
            settings.send_timeout_s, self.drain, self.metrics, Pulse(settings.heartbeat_s), settings.live == "direct"
        )


def node_name(settings: Settings) -> bytes:
    """The value of ``X-Rejoinder-Node``: as configured, made fit for a header, or host and process id."""
    name = settings.node_name or f"{socket.gethostname()}-{os.getpid()}"
    return _NOT_FOR_A_HEADER.sub("-", name).encode()


async def _node(request: Request) -> Node:
    # Not a plain function: FastAPI would run that in a thread.
    return request.app.state.node


TheNode = Annotated[Node, Depends(_node)]
