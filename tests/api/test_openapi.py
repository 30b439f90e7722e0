"""The OpenAPI document says what holds: a fuzzer that reads it finds nothing else."""

from __future__ import annotations

from typing import Any, cast

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import (
    ignored_auth,  # pyright: ignore[reportUnknownVariableType]
    positive_data_acceptance,  # pyright: ignore[reportUnknownVariableType]
)

from api.app import create_app
from api.vendor_errors import vendor_of
from broker.events import Completed, Started, TextDelta
from tests.api.conftest import node_settings
from tests.api.fake_door import FakeDoor


async def test_the_document_refers_to_nothing_that_is_not_in_it(client: httpx2.AsyncClient) -> None:
    """And names the problems and headers of every operation."""
    document = (await client.get("/openapi.json")).json()

    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            fields = cast("dict[str, Any]", node)
            own = [fields["$ref"]] if isinstance(fields.get("$ref"), str) else []
            return own + [found for value in fields.values() for found in references(value)]
        return (
            [found for value in cast("list[Any]", node) for found in references(value)]
            if isinstance(node, list)
            else []
        )

    names = {reference.removeprefix("#/components/schemas/") for reference in references(document)}
    assert {"Problem", "Record", "GenerationRequest", "Completed"} <= names <= set(document["components"]["schemas"])
    assert set(document["paths"]) == {
        *("/v1/generations", "/v1/generations/{generation}", "/v1/generations/{generation}/cancel"),
        *("/v1/generations/{generation}/events", "/livez", "/readyz", "/metrics", "/v1/models", "/v1/models/{name}"),
        *("/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/responses/{response_id}"),
        *("/v1/responses/{response_id}/cancel", "/v1/ui/chat", "/v1/ui/chat/{chat}/stream", "/v1/ui/chat/{chat}/stop"),
    }
    for where, path in document["paths"].items():
        kind = "application/json" if vendor_of(where) else "application/problem+json"
        for operation in path.values():
            for status, response in operation["responses"].items():
                assert "X-Rejoinder-Node" in response["headers"]
                assert int(status) < 400 or kind in response["content"]


KEY = {"x-api-key": "k"}


def fuzzed_app() -> Any:
    """A node with something to find on it."""
    door = FakeDoor()
    door.create(Started(1, "restart", "demo", "demo-1"), TextDelta(0, "x"), Completed("stop"), tenant="a")
    door.ends_early = True
    return create_app(node_settings(api_keys="a:k"), broker=door)


schema: Any = schemathesis.openapi.from_asgi("/openapi.json", fuzzed_app())


@pytest.mark.slow
@pytest.mark.timeout(120)
@schema.parametrize()
@settings(max_examples=50, deadline=None, suppress_health_check=list[Any](HealthCheck), phases=[Phase.generate])
def test_a_fuzzer_finds_no_answer_that_the_document_does_not_know(case: Any) -> None:
    """Every status, header and body is declared; wrong data is refused; nothing is a 5xx."""
    # Not in the schema: rules between the fields of a message, and what makes a cursor one. 401 has its own tests.
    # The bodies of other vendors' wires are described by their vendors; the position of a frame fits some formats only.
    bodies = ("/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/ui/chat")
    loose = case.operation.path in ("/v1/generations", "/v1/generations/{generation}/events", *bodies)
    excluded: list[Any] = [ignored_auth, *([positive_data_acceptance] if loose else [])]
    case.call_and_validate(headers=KEY, excluded_checks=excluded)
