"""A body that the AI SDK's useChat posts as the canonical request: pure. Contract section 5; wires.md.

An app puts whatever it likes beside the messages, so what we don't know is left alone and named, never refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from pydantic import ValidationError

from broker.dialects.translated import OURS, Translated
from broker.dialects.ui_messages import UIMessage, as_object, at, conversation, read_messages
from broker.dialects.ui_tools import tool_choice, tools
from broker.request import StoredRequest, Wire

_NAMES = {
    "model": "model",
    "system": "instructions",
    "instructions": "instructions",
    "max_output_tokens": "max_output_tokens",
    "maxOutputTokens": "max_output_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "topP": "top_p",
    "stop": "stop",
    "stopSequences": "stop",
    "tools": "tools",
    "tool_choice": "tool_choice",
    "toolChoice": "tool_choice",
    "parallel_tool_calls": "parallel_tool_calls",
    "parallelToolCalls": "parallel_tool_calls",
    "response_format": "response_format",
    "reasoning": "reasoning",
    "metadata": "metadata",
    "provider_options": "provider_options",
    "providerOptions": "provider_options",
    **{name: name for name in OURS},
}
"""What a client may call a field of the canonical request."""
_READ = ("id", "messages", "trigger", "messageId", "rejoinder")
_TRIGGERS = ("submit-message", "regenerate-message")
_MAX_ID = 512


def from_ui(body: Mapping[str, Any], *, model: str | None = None) -> Translated:
    """The request, for ``model`` where the body names none; the chat's id, if it has one, is in ``wire.echo``.

    Raises ``InvalidRequest`` naming the field.
    """
    chat, message = _id(body, "id"), _id(body, "messageId")
    trigger = body.get("trigger")
    if trigger is not None and trigger not in _TRIGGERS:
        raise at("trigger", f"must be one of {', '.join(_TRIGGERS)}")
    messages = read_messages(body.get("messages"))
    last = messages[-1]
    if trigger == "regenerate-message" and last.role == "assistant" and last.id == message:
        messages.pop()
    # An answer that goes on with the last message, for instance with what its tools gave, belongs to that message.
    goes_on = messages and messages[-1].role == "assistant" and trigger != "regenerate-message"
    echo = {"chat": chat, "message": messages[-1].id if goes_on else None}
    given, names = _fields(body)
    given.setdefault("model", model)
    if given["model"] is None:
        raise at("model", "is missing, and there is no default")
    return Translated(_stored(given, names, messages, echo), _ignored(body), stream=True)


def _id(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_ID:
        raise at(name, f"must be a string of 1 to {_MAX_ID} characters")
    return value


def _ignored(body: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in body if name not in _NAMES and name not in _READ)


def _fields(body: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The fields of the canonical request that the body has, and what the body calls them."""
    given: dict[str, Any] = {}
    names: dict[str, str] = {}
    for name, canonical in _NAMES.items():
        value = body.get(name)
        if value is None:
            continue
        if canonical in given:
            raise at(name, f"is the same as {names[canonical]}: give one of them")
        given[canonical], names[canonical] = value, name
    ours = body.get("rejoinder")
    for name, value in ({} if ours is None else as_object(ours, "rejoinder")).items():
        if name not in OURS or name in given:
            raise at(f"rejoinder.{name}", "is given twice" if name in OURS else "is unknown")
        given[name], names[name] = value, f"rejoinder.{name}"
    if "tools" in given:
        given["tools"] = tools(given["tools"], names["tools"])
    if "tool_choice" in given:
        given["tool_choice"] = tool_choice(given["tool_choice"])
    return given, names


def _stored(
    given: dict[str, Any], names: dict[str, str], messages: list[UIMessage], echo: dict[str, Any]
) -> StoredRequest:
    whole = {
        "on_worker_loss": "continue",
        **given,
        "messages": conversation(messages),
        "wire": Wire(dialect="ai-sdk", echo=echo),
    }
    try:
        return StoredRequest.model_validate(whole)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise at(_path(fault["loc"], given, names), f"is not valid: {fault['msg']}") from None


def _path(loc: Sequence[int | str], given: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """The field at fault as the body calls it, without the arms of unions that were tried on the way."""
    path: list[str] = []
    value: Any = given
    for step in loc:
        if isinstance(value, Mapping) and step in value:
            value = cast("dict[Any, Any]", value)[step]
        elif isinstance(value, list) and isinstance(step, int):
            value = cast("list[Any]", value)[step]
        elif path:
            continue
        path.append(str(step) if path else names.get(str(step), str(step)))
    return ".".join(path)
