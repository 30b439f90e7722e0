"""Which provider serves a model, and how it is built."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.errors import UnknownModel
from broker.routing import Router
from broker.settings import Settings
from tests.providers.contract import failure_of, items_of, make_call
from tests.support.upstream import Reply, Upstream, anthropic_frames, chat_frames, golden
from tests.support.waiting import wait_until
from worker.providers.anthropic import AnthropicProvider
from worker.providers.demo import DemoProvider
from worker.providers.openai_chat import OpenAIChatProvider
from worker.providers.openai_responses import OpenAIResponsesProvider
from worker.providers.registry import Registry

TOML = """
[providers.vllm]
base_url = "{url}/v1"
api_key_env = "VLLM_KEY"
models = ["llama", "qwen/qwen3"]
can_continue = true

[providers.ollama]
base_url = "{url}/v1"
takes_reasoning = false

[providers.responses]
kind = "openai-responses"
base_url = "{url}/v1"
background = true
models = ["o9"]

[routes]
"gpt-*" = "openai"
"meta-llama/*" = "vllm"
"llama-*" = "ollama"
"lost-*" = "nobody"
"*" = "anthropic"
"""


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """A stub of this test."""
    async with Upstream() as stub:
        yield stub


@pytest.fixture
def settings(tmp_path: Path, upstream: Upstream) -> Settings:
    """Settings with a file."""
    path = tmp_path / "rejoinder.toml"
    path.write_text(TOML.format(url=upstream.url))
    return Settings(config=path)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("demo/demo-1", ("demo", "demo-1")),
        ("openai/gpt-x", ("openai", "gpt-x")),
        ("openai-responses/gpt-x", ("openai-responses", "gpt-x")),
        ("anthropic/claude-x", ("anthropic", "claude-x")),
        ("vllm/llama", ("vllm", "llama")),
        ("vllm/qwen/qwen3", ("vllm", "qwen/qwen3")),
        ("gpt-5", ("openai", "gpt-5")),
        ("meta-llama/Llama-4", ("vllm", "meta-llama/Llama-4")),
        ("llama-3", ("ollama", "llama-3")),
        ("anything", ("anthropic", "anything")),
        ("lost-1", ("anthropic", "lost-1")),
    ],
)
def test_routes(settings: Settings, model: str, expected: tuple[str, str]) -> None:
    """By the provider's name, else by the first glob that leads to a provider there is."""
    assert Router(settings).resolve(model) == expected


@pytest.mark.parametrize("model", ["", "/", "nobody/x", "openai/", "demo/", "demo/demo-2", "GPT-5", "llama"])
def test_unknown_models(model: str) -> None:
    """Nothing serves these by default, and the field is named."""
    with pytest.raises(UnknownModel) as caught:
        Router(Settings(config=None)).resolve(model)
    assert caught.value.field == "model"


def test_known_models(settings: Settings) -> None:
    """The demo's and the configured ones, under their full names, each of which resolves."""
    router = Router(settings)
    assert router.known_models() == ["demo/demo-1", "vllm/llama", "vllm/qwen/qwen3", "responses/o9"]
    for model in router.known_models():
        assert "/".join(router.resolve(model)) == model


async def test_providers_are_built_once(settings: Settings) -> None:
    """Each when it is first asked for, of the right kind."""
    async with Registry(settings, {}) as registry:
        demo, name = registry.resolve("demo/demo-1")
        assert (type(demo), name) == (DemoProvider, "demo-1")
        assert registry.resolve("demo/demo-1")[0] is demo
        assert isinstance(registry.resolve("openai/x")[0], OpenAIChatProvider)
        assert isinstance(registry.resolve("anthropic/x")[0], AnthropicProvider)
        vllm, _ = registry.resolve("vllm/llama")
        assert isinstance(vllm, OpenAIChatProvider)
        assert (vllm.name, vllm.models(), vllm.can_continue("llama")) == ("vllm", ["llama", "qwen/qwen3"], True)
        assert registry.models() == Router(settings).known_models()
        with pytest.raises(UnknownModel):
            registry.resolve("demo/nope")


async def test_thoughts_go_back_to_whom_takes_them(settings: Settings, upstream: Upstream) -> None:
    """Of the vendors who speak chat completions some want them, and Groq refuses a message that has them."""
    upstream.replies.extend([Reply(chat_frames(golden("chat_text")))] * 2)
    thought = {"type": "reasoning", "text": "hm"}
    said = [
        {"role": "assistant", "content": [thought, {"type": "text", "text": "a"}]},
        {"role": "user", "content": "b"},
    ]
    async with Registry(settings, {"VLLM_KEY": "x"}) as registry:
        for model in ("vllm/llama", "ollama/llama"):
            provider, name = registry.resolve(model)
            await items_of(provider, make_call(name, messages=said))
    assert ["reasoning_content" in asked.body["messages"][0] for asked in upstream.asked] == [True, False]


async def test_keys_come_from_the_environ_given(settings: Settings, upstream: Upstream) -> None:
    """A configured provider's key is looked up where the registry was told to; without a variable none is sent."""
    upstream.replies.extend([Reply(chat_frames(golden("chat_text")))] * 2)
    async with Registry(settings, {"VLLM_KEY": "the-key"}) as registry:
        for model in ("vllm/llama", "ollama/llama"):
            provider, name = registry.resolve(model)
            await items_of(provider, make_call(name))
    with_key, without = upstream.asked
    assert with_key.headers["authorization"] == "Bearer the-key"
    assert "authorization" not in without.headers
    await wait_until(lambda: upstream.live == 0)


@pytest.mark.parametrize("model", ["vllm/llama", "openai/gpt-x", "openai-responses/gpt-x", "anthropic/claude-x"])
async def test_a_missing_key_is_told(settings: Settings, model: str) -> None:
    """The call fails at once, without a request, and says why."""
    settings = settings.model_copy(update={"openai_api_key": None, "anthropic_api_key": None})
    async with Registry(settings, {}) as registry:
        provider, name = registry.resolve(model)
        _, error = await failure_of(provider, make_call(name))
    assert (error.code, error.can_retry) == ("provider_auth", False)


async def test_a_configured_kind(settings: Settings, upstream: Upstream) -> None:
    """``kind`` says what it speaks, ``background`` how."""
    upstream.replies.append(Reply(anthropic_frames(golden("responses_text_background"))))
    async with Registry(settings, {}) as registry:
        provider, name = registry.resolve("responses/o9")
        assert (type(provider), provider.name, provider.models()) == (OpenAIResponsesProvider, "responses", ["o9"])
        assert not provider.can_continue(name)
        await items_of(provider, make_call(name))
    assert (upstream.asked[0].path, upstream.asked[0].body["background"]) == ("/v1/responses", True)


async def test_the_file_may_name_a_built_in_provider(tmp_path: Path, upstream: Upstream) -> None:
    """``[providers.openai]`` points the name elsewhere."""
    path = tmp_path / "rejoinder.toml"
    path.write_text(f'[providers.openai]\nbase_url = "{upstream.url}/v1"\n')
    upstream.replies.append(Reply(chat_frames(golden("chat_text"))))
    async with Registry(Settings(config=path), {}) as registry:
        provider, name = registry.resolve("openai/gpt-x")
        await items_of(provider, make_call(name))
    assert upstream.asked[0].path == "/v1/chat/completions"


def test_sdks_are_imported_on_first_use() -> None:
    """A worker that serves the demo does not pay for SDKs; the router does not even import the worker."""
    program = (
        "import sys, worker.providers.registry as r; import broker.routing;"
        "print([m for m in ('openai', 'anthropic', 'httpx2') if m in sys.modules]);"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    program = "import sys, broker.routing; print([m for m in sys.modules if m.split('.')[0] in ('worker', 'api')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
