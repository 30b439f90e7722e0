"""Fixtures of other suites that these need, too."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.api.conftest import door, start_node
from tests.broker.conftest import store
from tests.support.upstream import Upstream

__all__ = ["door", "start_node", "store"]


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """A provider that sees its sockets close."""
    async with Upstream() as stub:
        yield stub
