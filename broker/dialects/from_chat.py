"""A body of ``POST /v1/chat/completions`` as the canonical request: pure."""

from __future__ import annotations

from typing import Any

from broker.dialects.chat_turns import chat_message
from broker.dialects.hints import CHAT_RULES, options_by
from broker.dialects.reading import Fields, Node, Reading
from broker.dialects.settings import effort_of, limit_of, sampling, stops, text_config
from broker.dialects.translated import Translated, ours_of, stored
from broker.dialects.turns import cache_mark
from broker.dialects.vendors import CACHE_CONTROL, CHAT, JSON_OBJECT, Vendor
from broker.request import Function, NamedToolChoice, Tool


def from_chat(body: dict[str, Any], vendor: Vendor) -> Translated:
    """The request and what was left out of it, for a model of this vendor's.

    Fields of chat completions that the canonical request has no place for go to vendors that are asked over chat
    completions as they are, and to a compatible server also those that nobody else knows.

    Raises :class:`broker.errors.InvalidRequest` naming the field.
    """
    reading = Reading(vendor, marks=vendor in CACHE_CONTROL | {"compatible"})
    fields = Node(body, "", reading).fields()
    limit = limit_of(fields, "max_completion_tokens", "max_tokens")
    effort = fields.take("reasoning_effort")
    options = options_by(CHAT_RULES, fields)
    given: dict[str, Any] = {
        "model": fields.need("model").text(),
        "messages": [chat_message(node) for node in fields.need("messages").items()],
        "max_output_tokens": limit.number() if limit else None,
        **sampling(fields),
        "stop": stops(fields.take("stop")),
        "tools": _tools(fields.take("tools")),
        "tool_choice": _choice(fields.take("tool_choice"), options),
        "response_format": _response_format(fields.take("response_format")),
        "reasoning": {"effort": effort_of(effort)} if effort else None,
    }
    if vendor == "openai.responses" and (verbosity := options.pop("verbosity", None)):
        options["text"] = text_config(given["response_format"], verbosity)
    stream = fields.take("stream")
    echo = {"include_usage": _includes_usage(fields.take("stream_options"))}
    ours = ours_of(fields)
    if vendor == "compatible":
        options |= fields.left()
    names = {"max_output_tokens": limit.path if limit else ""}
    request = stored(fields, given | ours, options, names, "openai.chat", echo)
    return Translated(request, tuple(reading.ignored), stream.flag() if stream else False)


def _tools(node: Node | None) -> list[Tool] | None:
    return None if node is None else [_tool(tool) for tool in node.items()] or None


def _tool(node: Node) -> Tool:
    fields = node.fields()
    kind = fields.need("type")
    if kind.value != "function":
        raise kind.refused("only functions can be called; other tools cannot be kept in the log")
    given = fields.need("function")
    function = given.made(Function, given.object())
    mark = cache_mark(fields)
    fields.done()
    return node.made(Tool, {"type": "function", "function": function, "cache_control": mark})


def _choice(node: Node | None, options: dict[str, Any]) -> str | NamedToolChoice | None:
    if node is None or isinstance(node.value, str):
        return node.word(("auto", "none", "required")) if node else None
    fields = node.fields()
    kind = fields.need("type")
    if kind.value == "allowed_tools":
        if node.vendor in CHAT:
            options["tool_choice"] = node.value
        elif node.vendor == "demo":
            node.ignore()
        else:
            raise node.refused("the provider of this model takes no allowed_tools: leave the others out of tools")
        return None
    kind.word(("function", "allowed_tools"))
    named = fields.need("function").fields()
    name = named.need("name")
    named.done()
    fields.done()
    return node.made(NamedToolChoice, {"type": "function", "function": {"name": name.text()}})


def _response_format(node: Node | None) -> dict[str, Any] | None:
    if node is None:
        return None
    fields = node.fields()
    kind = fields.need("type")
    if node.vendor != "compatible":
        kind.word(("text", "json_object", "json_schema"))
    if kind.value == "json_object" and node.vendor not in JSON_OBJECT:
        raise kind.refused("the provider of this model takes json_schema only")
    if kind.value == "json_schema":
        _schema(fields.need("json_schema"))
    return node.object()


def _schema(node: Node) -> None:
    fields = node.fields()
    fields.need("name").text()
    schema = fields.take("schema")
    if schema is not None:
        schema.object()
    if node.vendor == "anthropic" and not (schema and schema.object()):
        raise node.refused("the provider of this model needs a schema")


def _includes_usage(node: Node | None) -> bool:
    if node is None:
        return False
    fields: Fields = node.fields()
    usage = fields.take("include_usage")
    fields.hint("include_obfuscation", False)
    if node.vendor == "compatible":
        fields.left()
    fields.done()
    return usage.flag() if usage else False
