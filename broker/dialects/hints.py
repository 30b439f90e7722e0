"""What becomes of each field that the canonical request has no place for, dialect by dialect: one table each, and pure.

A vendor that knows the field gets it as it is. For the others a hint is left out and named, and what would change the
meaning of the answer is refused. What our log could not carry is refused whoever is asked. The demo model takes all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from broker.dialects.reading import Fields
from broker.dialects.vendors import CHAT, OPENAI, Vendor


class Rule(NamedTuple):
    """``takes``: who gets the field; ``otherwise``: what it is to all others; ``neutral``: values that say nothing."""

    takes: frozenset[Vendor]
    otherwise: Literal["hint", "meaning"]
    neutral: tuple[Any, ...] = ()
    why: str = "the provider of this model has no such setting"


_NOBODY: frozenset[Vendor] = frozenset()
_ANTHROPIC: frozenset[Vendor] = frozenset({"anthropic"})
_COMPATIBLE: frozenset[Vendor] = frozenset({"compatible"})
_RESPONSES: frozenset[Vendor] = frozenset({"openai.responses"})
_LEGACY = "is served in its newer form only: "


def _hint(takes: frozenset[Vendor], *neutral: Any) -> Rule:
    return Rule(takes, "hint", neutral)


def _meaning(takes: frozenset[Vendor], *neutral: Any) -> Rule:
    return Rule(takes, "meaning", neutral)


def _never(why: str, *neutral: Any) -> Rule:
    return Rule(_NOBODY, "meaning", neutral, why)


CHAT_RULES: Mapping[str, Rule] = {
    "presence_penalty": _meaning(CHAT, 0),
    "frequency_penalty": _meaning(CHAT, 0),
    "logit_bias": _meaning(CHAT, {}),
    "web_search_options": _meaning(CHAT),
    "cache_control": _hint(_ANTHROPIC | _COMPATIBLE),
    "prediction": _hint(CHAT),
    "prompt_cache_key": _hint(OPENAI | CHAT),
    "prompt_cache_options": _hint(OPENAI | CHAT),
    "prompt_cache_retention": _hint(OPENAI | CHAT),
    "safety_identifier": _hint(OPENAI | CHAT),
    "seed": _hint(CHAT),
    "service_tier": _hint(OPENAI | CHAT, "auto"),
    "store": _hint(CHAT, False),
    "user": _hint(OPENAI | CHAT),
    "verbosity": _hint(OPENAI | CHAT),
    "audio": _never("spoken answers cannot be kept in the log"),
    "modalities": _never("only text can be kept in the log", ["text"]),
    "logprobs": _never("probabilities of tokens cannot be kept in the log", False),
    "top_logprobs": _never("probabilities of tokens cannot be kept in the log", 0),
    "moderation": _never("verdicts of moderation cannot be kept in the log"),
    "n": _never("a generation has one answer", 1),
    "functions": _never(_LEGACY + "give tools", []),
    "function_call": _never(_LEGACY + "give tool_choice", "auto", "none"),
}
"""Chat completions."""

RESPONSES_RULES: Mapping[str, Rule] = {
    "presence_penalty": _meaning(OPENAI | CHAT, 0),
    "frequency_penalty": _meaning(OPENAI | CHAT, 0),
    "access_programs": _meaning(_RESPONSES, {}),
    "image": _hint(_RESPONSES, {}),
    "max_tool_calls": _hint(_RESPONSES),
    "prompt_cache_key": _hint(OPENAI),
    "prompt_cache_options": _hint(OPENAI),
    "prompt_cache_retention": _hint(OPENAI),
    "safety_identifier": _hint(OPENAI),
    "service_tier": _hint(OPENAI, "auto", "default"),
    "truncation": _hint(_RESPONSES, "disabled"),
    "user": _hint(OPENAI | CHAT),
    "context_management": _never("compacted context cannot be kept in the log", []),
    "conversation": _never("conversations are not kept here: give previous_response_id or the whole input"),
    "moderation": _never("verdicts of moderation cannot be kept in the log"),
    "prompt": _never("prompt templates are not kept here: give instructions and input"),
    "top_logprobs": _never("probabilities of tokens cannot be kept in the log", 0),
}
"""Responses."""

_BETA = "is a beta of Anthropic's that is not served here"
MESSAGES_RULES: Mapping[str, Rule] = {
    "top_k": _meaning(_ANTHROPIC | _COMPATIBLE),
    "inference_geo": _meaning(_ANTHROPIC),
    "cache_control": _hint(_ANTHROPIC),
    "metadata": _hint(_ANTHROPIC, {}),
    "service_tier": _hint(_ANTHROPIC, "auto"),
    "speed": _hint(_ANTHROPIC, "standard"),
    "user_profile_id": _hint(_ANTHROPIC),
    "diagnostics": _hint(_NOBODY, {}),
    "container": _never("the tools that run in containers cannot be kept in the log"),
    "mcp_servers": _never("calls that a provider makes by itself cannot be kept in the log", []),
    "context_management": _never("edits of the context cannot be kept in the log", {}),
    "billing_policy": _never(_BETA),
    "compaction": _never(_BETA),
    "fallback_credit_token": _never(_BETA),
    "fallbacks": _never(_BETA, []),
    "prefill": _never(_BETA),
    "thread": _never(_BETA),
}
"""Anthropic's messages."""


def options_by(rules: Mapping[str, Rule], fields: Fields) -> dict[str, Any]:
    """The fields of these rules that the vendor gets as they are; what else there is of them is noted or refused."""
    options: dict[str, Any] = {}
    for name, rule in rules.items():
        node = fields.take(name)
        if node is None:
            continue
        if fields.vendor in rule.takes:
            options[name] = node.value
        elif node.value in rule.neutral:
            continue
        elif rule.otherwise == "hint" or (fields.vendor == "demo" and rule.takes):
            node.ignore()
        else:
            raise node.refused(rule.why)
    return options
