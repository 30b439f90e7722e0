"""What the Response resource repeats of its request, in the resource's own shapes: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

_REPEATED: Mapping[str, Any] = {
    "instructions": None,
    "tool_choice": "auto",
    "truncation": "disabled",
    "parallel_tool_calls": True,
    "top_p": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "top_logprobs": 0,
    "temperature": 1.0,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "store": True,
    "background": False,
    "service_tier": "default",
    "metadata": {},
    "safety_identifier": None,
    "prompt_cache_key": None,
    "previous_response_id": None,
    "user": None,
    "include": [],
}
"""Repeated as it was said, or as this where nothing was said."""


def echo_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of a request, which has been read without fault, that its response has to show again."""
    echo = {name: default if body.get(name) is None else body[name] for name, default in _REPEATED.items()}
    reasoning = _object(body.get("reasoning"))
    summary = reasoning.get("summary") or reasoning.get("generate_summary")
    return {
        **echo,
        # Asked for automatically, it is served by default.
        "service_tier": "default" if echo["service_tier"] == "auto" else echo["service_tier"],
        "tools": [_tool(tool) for tool in body.get("tools") or ()],
        "text": {"format": {"type": "text"}, **_given(_object(body.get("text")))},
        "reasoning": {"effort": reasoning.get("effort"), "summary": summary},
    }


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tool.get(name) for name in ("type", "name", "description", "parameters", "strict")}


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _object(value: Any) -> Mapping[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
