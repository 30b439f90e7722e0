"""The golden files through the real clients: what each takes, and what it does when a stream ends too early.

Our formats are held to these files elsewhere; here the files, and what docs/clients.md says of each client, are held to
what the clients do.
"""

from __future__ import annotations

import pytest

from tests.clients.clients import CLIENTS, Client, Stage
from tests.clients.golden import GoldenServer, frames, whole
from tests.clients.judge import complaints, silent
from tests.clients.left import Ask
from tests.clients.outcomes import outcome
from tests.clients.wire import Plan, Wire, close

pytestmark = [pytest.mark.clients, pytest.mark.timeout(60), pytest.mark.asyncio(loop_scope="session")]

# What is sync reads the same bytes in the same way.
_CLIENTS = {name: client for name, client in CLIENTS.items() if not name.endswith("-sync")}
_EACH = pytest.mark.parametrize("client", _CLIENTS.values(), ids=_CLIENTS.keys())
SILENT = {
    "openai-py-chat",
    "openai-py-chat-helper",
    "openai-py-responses",
    "anthropic-py",
    "anthropic-py-helper",
    "openai-js-chat",
    "openai-js-responses",
    "openai-js-responses-helper",
    "anthropic-js",
    "usechat-default",
    "fetch-event-source",
}
"""Clients that take a clean end in the middle for the end: why Rejoinder breaks a stream off (PROTOCOL.md)."""


def _ask(wire: Wire, scenario: str, *, resume: bool = False) -> Ask:
    return Ask(wire.url, f"golden/{scenario}", tools=scenario == "tools", resume=resume)


@pytest.mark.parametrize("scenario", ["text", "tools", "reasoning", "error", "cancel"])
@_EACH
async def test_a_golden_stream_gives_what_the_table_says(
    client: Client, scenario: str, stage: Stage, golden_wire: Wire
) -> None:
    """With ids, a retry and heartbeats between the frames, as we send them."""
    left = await client.run(stage, _ask(golden_wire, scenario))
    expected = outcome(client.name, scenario)
    assert complaints(left, expected, whole(client.wire, scenario)) == []


@_EACH
async def test_a_clean_end_in_the_middle_deceives_them(
    client: Client, stage: Stage, golden: GoldenServer, golden_wire: Wire
) -> None:
    """Half a stream, ended in order: these clients take it for the whole. Ours never end so."""
    made = frames(client.wire, "text")
    golden.keep, golden.end = next(n for n, frame in enumerate(made, 1) if b'"Hel"' in frame), "clean"
    left = await client.run(stage, _ask(golden_wire, "text"))
    assert silent(left, whole(client.wire, "text")) == (client.name in SILENT), left


async def test_an_id_counts_as_read_before_its_event_has_come(stage: Stage, golden_wire: Wire) -> None:
    """fetch-event-source, cut behind the id line of an event: it asks for what follows, and the event may be lost.

    It is not where the browser throws the last bytes away before the page has seen them: how often is the browser's.
    """
    made = frames("native", "text")
    before = sum(len(b"%x\r\n%s\r\n5\r\n: hb\n\r\n" % (len(frame), frame)) for frame in made[:2])
    cut = before + made[2].index(b"data:") + 10

    async def text(*, resume: bool) -> str:
        golden_wire.plans.append(Plan(cut, close))
        return (await CLIENTS["fetch-event-source"].run(stage, _ask(golden_wire, "text", resume=resume))).text

    assert {await text(resume=False) for _ in range(5)} <= {"lo", "Hello"}
    assert [await text(resume=True) for _ in range(5)] == ["Hello"] * 5
