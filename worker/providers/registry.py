"""Builds each provider when it is first asked for, and closes those it built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import SecretStr

from broker.routing import Router
from broker.settings import ProviderConfig, Settings
from worker.providers.anthropic import ANTHROPIC_URL, AnthropicProvider
from worker.providers.base import Provider
from worker.providers.demo import DemoProvider
from worker.providers.openai_chat import OPENAI_URL, OpenAIChatProvider
from worker.providers.openai_responses import OpenAIResponsesProvider


class Registry:
    """The providers of one worker: ``demo``, ``openai``, ``openai-responses``, ``anthropic`` and the TOML file's.

    ``environ`` is where the ``api_key_env`` variables of configured providers are looked up. Use it as an async context
    manager, or call :meth:`aclose`.
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._configured = dict(settings.file().providers)
        self._environ = environ
        self._router = Router(settings)
        self._built: dict[str, Provider] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()

    def resolve(self, model: str) -> tuple[Provider, str]:
        """The provider of a model, and the model's name as that provider knows it.

        Raises :class:`broker.errors.UnknownModel` when nothing serves it. A missing key shows when the model is asked.
        """
        name, model_name = self._router.resolve(model)
        if name not in self._built:
            self._built[name] = self._build(name)
        return self._built[name], model_name

    def models(self) -> list[str]:
        """Full names (``provider/name``) of the models known without asking a provider."""
        return self._router.known_models()

    async def aclose(self) -> None:
        """Close every provider that was built; afterwards they are built anew."""
        while self._built:
            _, provider = self._built.popitem()
            await provider.aclose()

    def _build(self, name: str) -> Provider:
        # What the file configures wins, so that [providers.openai] can point the built-in name elsewhere.
        if name in self._configured:
            return self._compatible(name, self._configured[name])
        match name:
            case "openai":
                return self._openai(OpenAIChatProvider, name)
            case "openai-responses":
                return self._openai(OpenAIResponsesProvider, name)
            case "anthropic":
                return self._anthropic()
            case _:
                return DemoProvider()

    @property
    def _shared(self) -> dict[str, Any]:
        """What all adapters that speak over a network are told."""
        settings = self._settings
        return {"connect_s": settings.connect_s, "stall_s": settings.stall_s, "max_calls": settings.max_jobs}

    def _openai(self, kind: type[OpenAIChatProvider | OpenAIResponsesProvider], name: str) -> Provider:
        settings = self._settings
        key, url = _secret(settings.openai_api_key) or "", settings.openai_base_url or OPENAI_URL
        return kind(name, api_key=key, base_url=url, **self._shared)

    def _compatible(self, name: str, config: ProviderConfig) -> Provider:
        shared: dict[str, Any] = {
            "api_key": None if config.api_key_env is None else self._environ.get(config.api_key_env, ""),
            "base_url": config.base_url,
            "models": config.models,
            **self._shared,
        }
        if config.kind == "openai-responses":
            return OpenAIResponsesProvider(name, background=config.background, **shared)
        thoughts = config.takes_reasoning
        return OpenAIChatProvider(name, can_continue=config.can_continue, takes_reasoning=thoughts, **shared)

    def _anthropic(self) -> Provider:
        settings = self._settings
        key, url = _secret(settings.anthropic_api_key) or "", settings.anthropic_base_url or ANTHROPIC_URL
        return AnthropicProvider("anthropic", api_key=key, base_url=url, **self._shared)


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()
