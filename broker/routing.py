"""Which provider serves a model: pure, so that the API can refuse an unknown model without importing the worker."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal, TypeAlias

from broker.errors import UnknownModel
from broker.settings import Settings

DEMO_MODELS = ("demo-1",)
"""The models of the built-in provider ``demo``, which needs neither a key nor a network."""

Vendor: TypeAlias = Literal["openai.chat", "openai.responses", "anthropic", "compatible", "demo"]
"""What a provider speaks; ``compatible`` = somebody else's server that speaks OpenAI's chat completions."""

_BUILT_IN: dict[str, Vendor] = {
    "demo": "demo",
    "openai": "openai.chat",
    "openai-responses": "openai.responses",
    "anthropic": "anthropic",
}
_CONFIGURED: dict[str, Vendor] = {"openai": "compatible", "openai-responses": "openai.responses"}
"""By the ``kind`` of a configured provider."""


class Router:
    """The routing table of one :class:`Settings`, read once.

    ``provider/name`` names the provider itself. Anything else is a bare name and goes to the first glob of ``[routes]``
    that matches it, letter case counted.
    """

    def __init__(self, settings: Settings) -> None:
        file = settings.file()
        self._configured = dict(file.providers)
        self._routes = dict(file.routes)
        self._providers = {*_BUILT_IN, *self._configured}

    def resolve(self, model: str) -> tuple[str, str]:
        """The provider's name, and the model's name as that provider knows it.

        Raises :class:`broker.errors.UnknownModel` (field ``model``) when nothing serves it.
        """
        provider, slash, name = model.partition("/")
        if slash and provider in self._providers:
            return self._checked(model, provider, name)
        for glob, target in self._routes.items():
            if fnmatchcase(model, glob) and target in self._providers:
                return self._checked(model, target, model)
        raise _unknown(model)

    def vendor(self, provider: str) -> Vendor:
        """What a provider speaks, by its name as :meth:`resolve` gives it."""
        if config := self._configured.get(provider):
            return _CONFIGURED[config.kind]
        return _BUILT_IN[provider]

    def known_models(self) -> list[str]:
        """Full names (``provider/name``) of the models that are known without asking a provider, in a stable order."""
        configured = [f"{name}/{model}" for name, config in self._configured.items() for model in config.models]
        return [*(f"demo/{model}" for model in DEMO_MODELS), *configured]

    def _checked(self, model: str, provider: str, name: str) -> tuple[str, str]:
        if not name or (provider == "demo" and name not in DEMO_MODELS):
            raise _unknown(model)
        return provider, name


def _unknown(model: str) -> UnknownModel:
    return UnknownModel(f"no provider serves the model {model!r}", field="model")
