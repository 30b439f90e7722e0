"""Every client against the whole service, through nginx in turn over two nodes: the table of docs/clients.md."""

from __future__ import annotations

import random

import pytest

from tests.clients.clients import CLIENTS, Client, Stage
from tests.clients.judge import complaints
from tests.clients.left import Ask
from tests.clients.outcomes import outcome
from tests.clients.service import Service
from tests.clients.upstream import whole
from tests.clients.wire import close, reset

pytestmark = [pytest.mark.clients, pytest.mark.timeout(90), pytest.mark.asyncio(loop_scope="session")]

_EACH = pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS.keys())
_REACH = {"chat": 8000, "responses": 12000, "messages": 6000, "ui": 3000, "native": 5000}
"""Bytes of a stream in which it may be cut: about those of half an answer."""


def _ask(service: Service, scenario: str, *, resume: bool = False) -> Ask:
    model = scenario if scenario in ("tools", "reasoning", "error") else "text"
    return Ask(service.wire.url, f"script/{model}", tools=scenario == "tools", resume=resume)


@pytest.mark.parametrize("scenario", ["text", "tools", "reasoning", "error"])
@_EACH
async def test_an_undisturbed_stream(client: Client, scenario: str, stage: Stage, service: Service) -> None:
    """All of the answer, and how it ended, in the client's own words."""
    left = await client.run(stage, _ask(service, scenario))
    assert complaints(left, outcome(client.name, scenario), whole(scenario)) == [], service.wire.told
    if scenario == "error":
        assert left.error is not None
        assert "upstream died" in left.error.message or left.error.type == "RuntimeError"


@_EACH
async def test_a_cancel_by_somebody_else(client: Client, stage: Stage, service: Service) -> None:
    """A stream that was cancelled ends as the client's format says it."""
    service.plan(service.cancel)
    left = await client.run(stage, _ask(service, "cancel"))
    assert complaints(left, outcome(client.name, "cancel"), whole("text")) == [], service.wire.told
    assert left.text != whole("text").text


@_EACH
async def test_a_cut_is_never_silent(client: Client, stage: Stage, service: Service) -> None:
    """At a random byte, with nothing done about it: the client goes on by itself, or says that something is missing."""
    service.plan(random.choice([reset, close]), reach=_REACH[client.wire])
    left = await client.run(stage, _ask(service, "cut"))
    assert complaints(left, outcome(client.name, "cut"), whole("text")) == [], service.wire.told
    assert not service.wire.plans


@_EACH
async def test_cut_three_times_the_recipe_gives_the_whole(client: Client, stage: Stage, service: Service) -> None:
    """What docs/clients.md says an application has to do is enough, and no token is paid for twice."""
    # Only this client can't say how much it has.
    noticed = client.name == "usechat-default"
    service.plan(*random.choices([reset, close], k=3), reach=_REACH[client.wire] // 2, noticed=noticed)
    left = await client.run(stage, _ask(service, "again", resume=True))
    assert complaints(left, outcome(client.name, "again"), whole("text")) == [], service.wire.told
    assert not service.wire.plans
    assert service.provider.calls == ["text"]


@_EACH
async def test_the_node_is_killed(client: Client, stage: Stage, service: Service) -> None:
    """SIGKILL in mid-stream: another process goes on where the client asks again."""
    service.plan(service.kill_node)
    left = await client.run(stage, _ask(service, "node", resume=True))
    assert complaints(left, outcome(client.name, "node"), whole("text")) == [], service.wire.told
    assert not service.wire.plans
    assert service.provider.calls == ["text"]
