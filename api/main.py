"""Run one API node. The only module of ``api`` that reads the environment."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

import uvicorn

from api.app import Api, create_app
from api.node import node_name
from api.protocol import HTTPProtocol
from api.server import BACKLOG, Server, listen
from api.ws_protocol import WSProtocol
from broker.garbage import look_rarely
from broker.logs import configure
from broker.open_files import allow_open_files
from broker.server_check import check_at_start
from broker.settings import Settings

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 75
"""How long an idle connection stays open: longer than the 60 s after which common load balancers let go of theirs, so
that they never send a request into a connection that is just closing."""


async def serve(settings: Settings, *, host: str, port: int, insecure: bool = False, fd: int | None = None) -> None:
    """Serve until SIGTERM or SIGINT, drain, and return.

    Args:
        settings: all settings.
        host: the address to listen on, also when ``fd`` is given (it decides whether keys are needed).
        port: the port; 0 = any.
        insecure: see :func:`api.app.create_app`.
        fd: a listening socket that is bound already.

    Raises:
        InsecureBind: for an open node off loopback.
        OSError: when the address can't be bound.
        UnfitServer: when Redis would lose what it is given.
    """
    await check_at_start(settings)
    app = create_app(settings, host=host, insecure=insecure)
    sock = listen(host, port, fd)
    log.info("listening on %s:%s", *sock.getsockname()[:2])
    drain = app.state.node.drain
    await Server(server_config(app), drain, drain_delay_s=settings.drain_delay_s).serve(sockets=[sock])


def server_config(app: Api) -> uvicorn.Config:
    """Settings of uvicorn for a node."""
    settings = app.state.node.settings
    return uvicorn.Config(
        app,
        http=partial(HTTPProtocol, node=node_name(settings)),  # pyright: ignore[reportArgumentType]
        ws=WSProtocol,
        ws_max_size=settings.max_body_bytes,
        ws_ping_interval=settings.heartbeat_s,
        ws_ping_timeout=settings.send_timeout_s,
        ws_per_message_deflate=False,
        lifespan="on",
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        access_log=False,
        log_config=None,
        server_header=False,
    )


def run(*, host: str = "127.0.0.1", port: int = 8000, insecure: bool = False, fd: int | None = None) -> None:
    """Serve with the settings of the environment, as a process of its own. Raises what :func:`serve` raises."""
    settings = Settings()  # pyright: ignore[reportCallIssue]
    configure(settings)
    look_rarely()
    allow_open_files()
    loop_factory = uvicorn.Config("", log_config=None).get_loop_factory()
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(serve(settings, host=host, port=port, insecure=insecure, fd=fd))
