"""Every client against the whole service, through nginx in turn over two nodes: the table of docs/clients.md."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.clients.clients import CLIENTS, Client, Stage
from tests.clients.judge import complaints
from tests.clients.left import Ask
from tests.clients.outcomes import outcome
from tests.clients.service import Service, serving
from tests.clients.upstream import whole
from tests.clients.wire import Plan, close, reset

pytestmark = [pytest.mark.clients, pytest.mark.timeout(90), pytest.mark.asyncio(loop_scope="session")]

SERVED = frozenset({"native"})
"""The wires that the service speaks."""
_CLIENTS = {name: client for name, client in CLIENTS.items() if client.wire in SERVED}
_EACH = pytest.mark.parametrize("client", _CLIENTS.values(), ids=_CLIENTS.keys())
_MIDDLE = 0.6
"""Part of a stream's bytes in which there is still text to come."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(page: dict[str, bytes]) -> AsyncIterator[Service]:
    """One for all tests; a node that was killed is started again."""
    async with serving(page) as running:
        yield running


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def ready(service: Service) -> None:
    """Both nodes are up, and nothing is left of the test before."""
    await service.stack.wait_ready()
    service.wire.plans.clear()
    service.wire.exchanges.clear()


def _ask(service: Service, scenario: str, *, resume: bool = False) -> Ask:
    model = scenario if scenario in ("tools", "reasoning", "error") else "text"
    return Ask(service.wire.url, f"script/{model}", tools=scenario == "tools", resume=resume)


async def _length(client: Client, stage: Stage, service: Service) -> int:
    """Bytes of an undisturbed stream, up to where there is still text to come."""
    left = await client.run(stage, _ask(service, "text"))
    assert complaints(left, outcome(client.name, "text"), whole("text")) == []
    began = ("POST", "GET /v1/generations")
    stream = next(exchange for exchange in service.wire.streams if exchange.line.startswith(began))
    return int(stream.body * _MIDDLE)


@pytest.mark.parametrize("scenario", ["text", "tools", "reasoning", "error"])
@_EACH
async def test_an_undisturbed_stream(client: Client, scenario: str, stage: Stage, service: Service) -> None:
    """All of the answer, and how it ended, in the client's own words."""
    left = await client.run(stage, _ask(service, scenario))
    assert complaints(left, outcome(client.name, scenario), whole(scenario)) == []
    if scenario == "error":
        assert left.error is not None
        assert "upstream died" in left.error.message or left.error.type == "RuntimeError"


@_EACH
async def test_a_cancel_by_somebody_else(client: Client, stage: Stage, service: Service) -> None:
    """A stream that was cancelled ends as the client's format says it."""
    service.wire.plans.append(Plan(1500, service.cancel))
    left = await client.run(stage, _ask(service, "cancel"))
    assert complaints(left, outcome(client.name, "cancel"), whole("text")) == []
    assert left.text != whole("text").text


@_EACH
async def test_a_cut_is_never_silent(client: Client, stage: Stage, service: Service) -> None:
    """At a random byte, with nothing done about it: the client goes on by itself, or says that something is missing."""
    middle = await _length(client, stage, service)
    service.wire.plans.append(Plan(random.randrange(1, middle), random.choice([reset, close])))
    left = await client.run(stage, _ask(service, "cut"))
    assert complaints(left, outcome(client.name, "cut"), whole("text")) == []
    assert not service.wire.plans


@_EACH
async def test_cut_three_times_the_recipe_gives_the_whole(client: Client, stage: Stage, service: Service) -> None:
    """What docs/clients.md says an application has to do is enough, and no token is paid for twice."""
    middle = await _length(client, stage, service)
    calls = len(service.provider.calls)
    for _ in range(3):
        service.wire.plans.append(Plan(random.randrange(1, max(2, middle // 3)), random.choice([reset, close])))
    left = await client.run(stage, _ask(service, "again", resume=True))
    assert complaints(left, outcome(client.name, "again"), whole("text")) == []
    assert len(service.provider.calls) == calls + 1
    nodes = {exchange.header("x-rejoinder-node") for exchange in service.wire.streams}
    assert len(service.wire.streams) >= 2, nodes


@_EACH
async def test_the_node_is_killed(client: Client, stage: Stage, service: Service) -> None:
    """SIGKILL in mid-stream: the other node goes on where the client asks again."""
    calls = len(service.provider.calls)
    service.wire.plans.append(Plan(1500, service.kill_node))
    left = await client.run(stage, _ask(service, "node", resume=True))
    assert complaints(left, outcome(client.name, "node"), whole("text")) == []
    assert len(service.provider.calls) == calls + 1
    assert len({exchange.header("x-rejoinder-node") for exchange in service.wire.streams}) == 2
