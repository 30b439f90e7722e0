"""Failed asserts of the suites show their values, as those of test files do."""

from __future__ import annotations

import pytest

SUITES = ("broker", "tail_rules", "end_rules", "stage", "formats")

pytest.register_assert_rewrite(*(f"tests.contracts.{name}" for name in SUITES))
