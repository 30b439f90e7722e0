"""The stub says what it is told, fails as it is told, and sees its clients go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec
import pytest

from broker.errors import ProviderError
from broker.events import TextDelta
from broker.request import GenerationRequest
from tests.chaos.provider import ChaosProvider, Script, text_of
from tests.support.waiting import wait_until
from worker.providers.base import Call, Finish
from worker.providers.openai_chat import OpenAIChatProvider

pytestmark = pytest.mark.integration


@pytest.fixture
async def stub() -> AsyncIterator[ChaosProvider]:
    """The stub."""
    async with ChaosProvider() as opened:
        yield opened


@pytest.fixture
async def provider(stub: ChaosProvider) -> AsyncIterator[OpenAIChatProvider]:
    """Our own adapter, as a worker has it."""
    url = f"http://127.0.0.1:{stub.port}/v1"
    made = OpenAIChatProvider("chaos", api_key=None, base_url=url, connect_s=2, stall_s=0.3, can_continue=True)
    yield made
    await made.aclose()


def call(script: Script, prefix: str = "") -> Call:
    """As a worker asks."""
    wanted = GenerationRequest(model="chaos/m", input=msgspec.json.encode(script).decode())
    return Call(wanted, "m", [TextDelta(0, prefix)] if prefix else [])


async def ask(provider: OpenAIChatProvider, script: Script, prefix: str = "") -> str:
    """The text of a whole answer."""
    text = ""
    items: list[object] = []
    async with aclosing(provider.stream(call(script, prefix))) as stream:
        async for item in stream:
            items.append(item)
            text += item.text if isinstance(item, TextDelta) else ""
    assert isinstance(items[-1], Finish)
    return text


@pytest.mark.parametrize("cut", [0, 1, 7, 40, 10_000])
async def test_an_answer_can_be_continued_anywhere(cut: int, stub: ChaosProvider, provider: OpenAIChatProvider) -> None:
    """Also inside a token, and behind the last one."""
    script = Script("k", tokens=30, rate=0)
    whole = text_of(script)
    assert whole[:cut] + await ask(provider, script, whole[:cut]) == whole
    await wait_until(lambda: stub.live == 0)
    assert (stub.calls[0].outcome, stub.calls[0].prefix) == ("completed", min(cut, len(whole)))


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("429", "provider_rate_limited"),
        ("500", "provider_error"),
        ("503", "provider_overloaded"),
        ("reset@3", "provider_truncated"),
        ("cut@3", "provider_truncated"),
        ("truncate@3", "provider_truncated"),
        ("error@3", "provider_error"),
    ],
)
async def test_each_fault_is_what_its_name_says(
    fault: str, code: str, stub: ChaosProvider, provider: OpenAIChatProvider
) -> None:
    """Once: the next call of the same key is served."""
    script = Script("k", tokens=6, rate=0, faults=[fault])
    with pytest.raises(ProviderError) as caught:
        await ask(provider, script)
    assert (caught.value.code, caught.value.can_retry) == (code, True)
    assert stub.calls[0].tokens == (3 if "@" in fault else 0)
    assert await ask(provider, script) == text_of(script)


@pytest.mark.parametrize("fault", ["silence", "stall@2"])
async def test_a_client_that_goes_is_noticed(fault: str, stub: ChaosProvider, provider: OpenAIChatProvider) -> None:
    """At once, and stamped."""
    asking = asyncio.ensure_future(ask(provider, Script("k", rate=0, faults=[fault])))
    await wait_until(lambda: bool(stub.calls) and (fault == "silence" or stub.calls[0].tokens == 2))
    assert stub.live == 1
    asking.cancel()
    await wait_until(lambda: stub.live == 0)
    assert stub.calls[0].outcome == "client_closed"
