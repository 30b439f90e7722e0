"""The bytes of an answer, past the SDKs' own parsing: packed, kept open, nonsense."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx2
import pytest

from broker.errors import ProviderError
from broker.settings import Settings
from tests.providers.contract import failure_of, items_of, make_call, text_of
from tests.support.upstream import Reply, Upstream, anthropic_frames, chat_frames, golden
from tests.support.waiting import wait_until
from worker.providers.answer import MAX_ERROR_BYTES, events_of
from worker.providers.openai_chat import OpenAIChatProvider
from worker.providers.registry import Registry

MODELS = ("openai/m", "anthropic/m", "vllm/m")


async def answer(*pieces: bytes | Exception, **headers: str) -> httpx2.Response:
    """An answer whose bytes come like this; an exception is raised in its place."""

    async def body() -> AsyncGenerator[bytes]:
        for piece in pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx2.Response(200, headers=names, content=body())


async def read(response: httpx2.Response, end: bytes | None = None) -> list[list[bytes]]:
    """All events, as they came together."""
    return [events async for events in events_of(response, end=end)]


async def test_what_came_together_is_read_together() -> None:
    """One list for each piece that ends an event."""
    assert await read(await answer(b"data: a\n\ndata: b\n", b"\ndata: c", b"\n\n")) == [[b"a"], [b"b"], [b"c"]]
    assert await read(await answer(b"data: a\n\ndata: b\n\n")) == [[b"a", b"b"]]


async def test_a_packed_answer_is_unpacked() -> None:
    """The SDKs offer to take one."""
    packed = gzip.compress(b"data: a\n\ndata: b\n\n")
    got = await read(await answer(packed[:15], packed[15:], content_encoding="gzip"))
    assert [data for events in got for data in events] == [b"a", b"b"]


async def test_what_follows_the_end_mark_is_nothing() -> None:
    """More events, or a connection that breaks, change nothing about an answer that is whole."""
    broken = httpx2.ReadError("gone")
    response = await answer(b"data: a\n\ndata: [DONE]\n\ndata: b\n\n", b"data: c\n\n", broken)
    assert [data for events in await read(response, b"[DONE]") for data in events] == [b"a"]
    with pytest.raises(httpx2.ReadError):
        await read(await answer(b"data: a\n\n", broken), b"[DONE]")


@pytest.fixture
async def upstream() -> AsyncGenerator[Upstream]:
    """A stub of this test."""
    async with Upstream() as stub:
        yield stub


async def test_a_server_that_does_not_hang_up_holds_nobody_up(upstream: Upstream) -> None:
    """After the end mark the rest is waited for only so long."""
    upstream.replies.append(Reply(chat_frames(golden("chat_text")), "stall"))
    provider = OpenAIChatProvider("openai", api_key="k", base_url=f"{upstream.url}/v1", connect_s=5, stall_s=60)
    async with asyncio.timeout(5):
        assert text_of(await items_of(provider, make_call())) == "Hello"
    await wait_until(lambda: upstream.live == 0)
    await provider.aclose()


@pytest.fixture
def settings(upstream: Upstream, tmp_path: Path) -> Settings:
    """All providers are the stub; this worker runs two generations at once."""
    path = tmp_path / "rejoinder.toml"
    path.write_text(f'[providers.vllm]\nbase_url = "{upstream.url}/v1"\n')
    given = {"openai_base_url": f"{upstream.url}/v1", "anthropic_base_url": upstream.url}
    keys = {"openai_api_key": "k", "anthropic_api_key": "k"}
    return Settings.model_validate({"config": path, "max_jobs": 2, "connect_s": 0.2, **given, **keys})


@pytest.fixture
async def registry(settings: Settings) -> AsyncGenerator[Registry]:
    """Its providers."""
    async with Registry(settings, {}) as made:
        yield made


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("data", ["[" * 100_000, "{"])
async def test_nonsense_is_malformed(registry: Registry, upstream: Upstream, model: str, data: str) -> None:
    """Depth without end, half a value: never an error of ours."""
    upstream.replies.append(Reply((f"data: {data}\n\n",)))
    provider, name = registry.resolve(model)
    _, error = await failure_of(provider, make_call(name))
    assert (error.code, error.can_retry) == ("provider_malformed", True)


@pytest.mark.parametrize("model", [*MODELS, "openai-responses/m"])
async def test_an_error_in_the_place_of_a_stream_is_told(registry: Registry, upstream: Upstream, model: str) -> None:
    """Gateways answer 200 with the JSON of an error: it says more than that the stream had no end."""
    error = json.dumps({"error": {"message": "no such model", "type": "not_found_error"}}, indent=2)
    upstream.replies.append(Reply((error[:9], error[9:])))
    provider, name = registry.resolve(model)
    _, failure = await failure_of(provider, make_call(name))
    assert (failure.code, failure.can_retry) == ("provider_rejected", False)
    assert failure.message.endswith(": no such model")


async def test_what_is_no_stream_and_no_json_is_nothing() -> None:
    """A page, more than an error can be, half of one, or a whole answer that nobody asked for in this form."""
    assert await read(await answer(b'{"error":null,"choices":[]}')) == []
    assert await read(await answer(b'{"error":{"message":"x"}', b" ")) == []
    assert await read(await answer(b"<html>\n")) == []
    assert await read(await answer(b"{" + b" " * MAX_ERROR_BYTES, b'"error":1}')) == []
    assert await read(await answer(b"data: a\n\n", b"{}")) == [[b"a"]]


@pytest.mark.parametrize("model", MODELS)
async def test_framing_that_the_standard_allows(registry: Registry, upstream: Upstream, model: str) -> None:
    """CRLF, comments, several lines of data."""
    frames = anthropic_frames(golden("anthropic_text")) if model.startswith("a") else chat_frames(golden("chat_text"))
    odd = "".join(f": ping\n{frame}" for frame in frames).replace(',"', ',\ndata: "').replace("\n", "\r\n")
    upstream.replies.append(Reply((odd,), bite=7))
    provider, name = registry.resolve(model)
    assert text_of(await items_of(provider, make_call(name))) == "Hello"


@pytest.mark.parametrize("model", MODELS)
async def test_a_worker_may_make_all_its_calls_at_once(registry: Registry, upstream: Upstream, model: str) -> None:
    """As many connections as generations, whatever the SDK's own limit is; one more waits, and fails honestly."""
    upstream.replies.extend([Reply(then="silence")] * 2)
    provider, name = registry.resolve(model)
    loop = asyncio.get_running_loop()
    calls = [loop.create_task(items_of(provider, make_call(name))) for _ in range(2)]
    await wait_until(lambda: len(upstream.asked) == 2)
    _, error = await failure_of(provider, make_call(name))
    assert (error.code, error.can_retry) == ("provider_unavailable", True)
    for call in calls:
        call.cancel()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert not any(isinstance(each, ProviderError) for each in ended)
