"""Fixtures of other suites that these need, too."""

from __future__ import annotations

from tests.api.conftest import door, start_node
from tests.broker.conftest import store

__all__ = ["door", "start_node", "store"]
