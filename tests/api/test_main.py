"""The process of a node: what it logs, and what it refuses to begin with."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator

import pytest

from api.app import create_app
from api.auth import InsecureBind
from api.main import KEEP_ALIVE_S, serve, server_config
from broker import logs
from tests.api.conftest import node_settings


@pytest.fixture
def own_logging() -> Iterator[logging.Logger]:
    """The root logger, put back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield root
    root.handlers[:], root.level = handlers, level


async def test_an_open_node_refuses_to_begin_off_loopback() -> None:
    """Before it listens."""
    with pytest.raises(InsecureBind, match="without API keys"):
        await serve(node_settings(), host="0.0.0.0", port=0)


async def test_an_address_in_use_is_said_so() -> None:
    """Before the broker is opened."""
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError, match="in use"):
        await serve(node_settings(), host="127.0.0.1", port=other.getsockname()[1])


def test_requests_are_not_logged() -> None:
    """Keys and tokens may stand in their queries."""
    config = server_config(create_app(node_settings()))
    assert config.access_log is False
    assert config.server_header is False
    assert config.timeout_keep_alive == KEEP_ALIVE_S > 60


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_log_lines_take_the_configured_form(
    own_logging: logging.Logger, capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    """One object a line, with its traceback, or one line for people."""
    logs.configure(node_settings(log_format=log_format, log_level="warning"))
    log = logging.getLogger("some.where")
    log.info("not shown")
    log.error("it %s", "broke", exc_info=KeyError("why"))
    written = capsys.readouterr().err
    assert "not shown" not in written
    if log_format == "json":
        (line,) = written.splitlines()
        record = json.loads(line)
        assert (record["level"], record["logger"], record["message"]) == ("error", "some.where", "it broke")
        assert "KeyError: 'why'" in record["exception"]
    else:
        assert "some.where it broke" in written
    assert own_logging.level == logging.WARNING
