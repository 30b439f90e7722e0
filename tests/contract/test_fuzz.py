"""Schemathesis over the service's own OpenAPI schema: whatever comes in, no 500 goes out, and refusals carry a code."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

pytestmark = pytest.mark.contract

EXAMPLES = 80
VENDORS = ("/v1/chat/completions", "/v1/responses", "/v1/messages")


@pytest.fixture(scope="module")
def operations(base_url: str) -> list[Any]:
    """Every operation that the service publishes."""
    schema = cast("Any", schemathesis.openapi).from_url(f"{base_url}/openapi.json")
    return [found.ok() for found in schema.get_all_operations()]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "invalid"])
def test_no_request_gets_a_500(operations: list[Any], mode: GenerationMode) -> None:
    """Every answer is one that was meant, and every refusal says its code."""
    answers: Counter[tuple[str, int]] = Counter()
    for operation in operations:
        _fuzz(operation, mode, answers)
    assert sum(answers.values()) > 100
    assert [key for key in answers if key[1] >= 500] == []


def _fuzz(operation: Any, mode: GenerationMode, answers: Counter[tuple[str, int]]) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def once(case: Any) -> None:
        response = case.call(timeout=20)
        answers[f"{operation.method} {operation.path}", response.status_code] += 1
        if response.status_code >= 400 and operation.method.upper() != "HEAD":
            problem = response.json()
            # Other vendors' clients read no problem details.
            if operation.path.startswith(VENDORS):
                assert problem["error"]["message"], problem
            else:
                assert problem["code"], problem
                assert problem["status"] == response.status_code

    # An operation that takes nothing can't be asked wrongly.
    with suppress(Unsatisfiable):
        once()
