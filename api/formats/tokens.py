"""How many tokens were read, as each vendor counts them: pure.

Anthropic counts what came from or went into its cache beside ``input_tokens``; everybody else counts it in.
"""

from __future__ import annotations

from broker.values import Usage

_BESIDE = "anthropic"
"""The provider whose ``input_tokens`` are without the cache."""


def _cached(usage: Usage) -> int:
    return (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)


def whole_input(usage: Usage, provider: str) -> int:
    """All tokens of the prompt, those of the cache too; 0 where the provider did not say."""
    return (usage.input_tokens or 0) + (_cached(usage) if provider == _BESIDE else 0)


def uncached_input(usage: Usage, provider: str) -> int:
    """The tokens of the prompt that have nothing to do with the cache; 0 where the provider did not say."""
    counted = usage.input_tokens or 0
    return counted if provider == _BESIDE else max(0, counted - _cached(usage))
