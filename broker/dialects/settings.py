"""The settings that several dialects have: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.dialects.reading import Fields, Node
from broker.dialects.vendors import STOPS

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def sampling(fields: Fields) -> dict[str, Any]:
    """What both of OpenAI's dialects call the same, under its canonical name."""
    heat, top_p = temperature(fields), fields.take("top_p")
    metadata, parallel = fields.take("metadata"), fields.take("parallel_tool_calls")
    return {
        "temperature": heat,
        "top_p": top_p.number() if top_p else None,
        "metadata": {key: _text(metadata, value) for key, value in metadata.object().items()} if metadata else None,
        "parallel_tool_calls": parallel.flag() if parallel else None,
    }


def temperature(fields: Fields) -> float | None:
    """The temperature; Anthropic's ends at 1."""
    node = fields.take("temperature")
    if node is None:
        return None
    if node.vendor == "anthropic" and node.number() > 1:
        raise node.refused("Anthropic takes 0 to 1 only")
    return node.number()


def limit_of(fields: Fields, *names: str) -> Node | None:
    """The most tokens an answer may have: the first of these fields that is there."""
    found = [node for name in names if (node := fields.take(name))]
    return found[0] if found else None


def stops(node: Node | None) -> list[str] | None:
    """Stop sequences: an array, or one alone."""
    if node is None:
        return None
    found = [node.text()] if isinstance(node.value, str) else [stop.text() for stop in node.items()]
    if found and node.vendor not in STOPS:
        raise node.refused("the provider of this model knows no stop sequences")
    return found or None


def effort_of(node: Node) -> str:
    """How much the model may think."""
    return node.word(EFFORTS)


def text_config(response_format: Mapping[str, Any] | None, verbosity: str | None) -> dict[str, Any]:
    """What chat completions say in ``response_format`` and ``verbosity``, as ``text`` of the Responses API."""
    wanted = dict(response_format or {"type": "text"})
    flat = {"type": wanted["type"], **wanted.get("json_schema", {})}
    return {"format": flat, **({"verbosity": verbosity} if verbosity else {})}


def _text(node: Node, value: object) -> str:
    if not isinstance(value, str):
        raise node.refused("must have strings as values")
    return value
