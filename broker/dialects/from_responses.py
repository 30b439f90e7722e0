"""A body of ``POST /v1/responses`` as the canonical request: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from broker.dialects.hints import RESPONSES_RULES, options_by
from broker.dialects.reading import Fields, Node, Reading
from broker.dialects.response_echo import echo_of
from broker.dialects.response_turns import Previous, Referenced, before, say_item
from broker.dialects.settings import effort_of, sampling
from broker.dialects.translated import Translated, ours_of, stored
from broker.dialects.turns import Turns
from broker.dialects.vendors import CACHE_CONTROL, CHAT, JSON_OBJECT, Vendor
from broker.request import Function, Message, NamedToolChoice, Tool

_INCLUDABLE = {"message.output_text.logprobs": "probabilities of tokens cannot be kept in the log"}
"""What ``include`` may not ask for. Encrypted reasoning is always included; the others are about built-in tools."""
_NO_NAMES: Mapping[str, str] = {"messages": "input"}


def from_responses(
    body: dict[str, Any],
    vendor: Vendor,
    previous: Previous | None = None,
    referenced: Mapping[str, Referenced] | None = None,
) -> Translated:
    """The request and what was left out of it, for a model of this vendor's.

    ``previous``: the response that ``previous_response_id`` names. ``referenced``: the output items that
    ``item_reference`` names, see :func:`references`.

    Raises :class:`broker.errors.InvalidRequest` naming the field.
    """
    reading = Reading(vendor, marks=vendor in CACHE_CONTROL)
    fields = Node(body, "", reading).fields()
    turns = Turns(before(previous))
    _read_input(fields, turns, referenced or {}, goes_on=previous is not None)
    options = options_by(RESPONSES_RULES, fields)
    limit, instructions = fields.take("max_output_tokens"), fields.take("instructions")
    given: dict[str, Any] = {
        "model": fields.need("model").text(),
        "messages": turns.messages(),
        "instructions": instructions.text() or None if instructions else None,
        "max_output_tokens": limit.number() if limit else None,
        **sampling(fields),
        "tools": _tools(fields.take("tools"), options),
        "tool_choice": _choice(fields.take("tool_choice"), options),
        "response_format": _text(fields.take("text"), options),
        "reasoning": _reasoning(fields.take("reasoning"), options),
    }
    flags = {name: _flag(fields, name, default) for name, default in _FLAGS.items()}
    _include(fields.take("include"))
    _stream_options(fields.take("stream_options"))
    named = fields.take("previous_response_id")
    if named is not None and not (named.text() and previous):
        raise named.refused("there is no such response")
    ours = ours_of(fields)
    if vendor == "compatible":
        options |= fields.left("messages", "n")
    request = stored(fields, given | ours, options, _NO_NAMES, "openai.responses", echo_of(body))
    return Translated(request, tuple(reading.ignored), **flags)


def references(body: Mapping[str, Any]) -> list[str]:
    """The ids of the items that ``input`` only refers to, for whoever can look them up."""
    items = body.get("input")
    found: list[str] = []
    for item in cast("list[Any]", items) if isinstance(items, list) else []:
        fields = cast("dict[str, Any]", item) if isinstance(item, dict) else {}
        refers = fields.get("type") == "item_reference" or (fields.get("type") is None and "role" not in fields)
        if refers and isinstance(fields.get("id"), str):
            found.append(fields["id"])
    return found


_FLAGS = {"stream": False, "background": False, "store": True}


def _flag(fields: Fields, name: str, default: bool) -> bool:
    node = fields.take(name)
    return default if node is None else node.flag()


def _read_input(fields: Fields, turns: Turns, referenced: Mapping[str, Referenced], *, goes_on: bool) -> None:
    node = fields.take("input") if goes_on else fields.need("input")
    if node is None:
        return
    if isinstance(node.value, str):
        turns.add(node.made(Message, {"role": "user", "content": node.text()}))
        return
    for item in node.items():
        say_item(item, turns, referenced)


def _tools(node: Node | None, options: dict[str, Any]) -> list[Tool] | None:
    if node is None:
        return None
    tools = node.items()
    if node.vendor == "openai.responses" and any(_says_more(tool.object()) for tool in tools):
        options["tools"] = node.value
    return [_tool(tool) for tool in tools] or None


def _says_more(tool: Mapping[str, Any]) -> bool:
    """Than a canonical tool can; there strict is off where nothing is said, here it is as strict as can be."""
    return tool.get("strict") is None or tool.get("output_schema") is not None


def _tool(node: Node) -> Tool:
    fields = node.fields()
    kind = fields.need("type")
    if kind.value != "function":
        raise kind.refused("only functions can be called: what other tools find cannot be kept in the log")
    fields.refuse("allowed_callers", "only the model itself can call a tool here", ["direct"])
    fields.refuse("defer_loading", "tools cannot be searched for here", False)
    fields.refuse("async", "calls are answered in turn here", False)
    if node.vendor == "openai.responses":
        fields.skip("output_schema")
    fields.hint("output_schema")
    name, description = fields.need("name"), fields.take("description")
    parameters, strict = fields.take("parameters"), fields.take("strict")
    function = name.made(
        Function,
        {
            "name": name.text(),
            "description": description.text() if description else None,
            "parameters": parameters.object() if parameters else None,
            "strict": strict.flag() if strict else None,
        },
    )
    fields.done()
    return node.made(Tool, {"type": "function", "function": function})


def _choice(node: Node | None, options: dict[str, Any]) -> str | NamedToolChoice | None:
    if node is None or isinstance(node.value, str):
        return node.word(("auto", "none", "required")) if node else None
    fields = node.fields()
    kind = fields.need("type")
    if kind.value == "allowed_tools":
        if node.vendor == "openai.responses":
            options["tool_choice"] = node.value
        elif node.vendor == "demo":
            node.ignore()
        else:
            raise node.refused("the provider of this model takes no allowed_tools: leave the others out of tools")
        return None
    kind.word(("function", "allowed_tools"))
    name = fields.need("name")
    fields.done()
    return node.made(NamedToolChoice, {"type": "function", "function": {"name": name.text()}})


def _text(node: Node | None, options: dict[str, Any]) -> dict[str, Any] | None:
    if node is None:
        return None
    fields = node.fields()
    form, verbosity = fields.take("format"), fields.take("verbosity")
    fields.done()
    if verbosity is not None:
        verbosity.word(("low", "medium", "high"))
        if node.vendor in CHAT:
            options["verbosity"] = verbosity.value
        elif node.vendor != "openai.responses":
            verbosity.ignore()
    if node.vendor == "openai.responses":
        options["text"] = node.value
    return _format(form) if form else None


def _format(node: Node) -> dict[str, Any]:
    fields = node.fields()
    kind = fields.need("type")
    if kind.word(("text", "json_object", "json_schema")) == "json_object" and node.vendor not in JSON_OBJECT:
        raise kind.refused("the provider of this model takes json_schema only")
    if kind.value != "json_schema":
        fields.done()
        return {"type": kind.value}
    fields.need("name").text()
    schema = fields.need("schema")
    if not schema.object() and node.vendor == "anthropic":
        raise schema.refused("the provider of this model needs a schema")
    fields.skip("description", "strict")
    fields.done()
    flat = {name: value for name, value in node.object().items() if name != "type" and value is not None}
    return {"type": "json_schema", "json_schema": flat}


def _reasoning(node: Node | None, options: dict[str, Any]) -> dict[str, Any] | None:
    if node is None:
        return None
    fields = node.fields()
    effort = fields.take("effort")
    word = effort_of(effort) if effort else None
    if node.vendor == "openai.responses":
        options["reasoning"] = node.value
        fields.skip("summary", "generate_summary", "context", "mode")
    elif node.vendor in CHAT:
        # Chat completions tell nothing of what was thought.
        fields.hint("summary")
        fields.hint("generate_summary")
    else:
        fields.skip("summary", "generate_summary")
    fields.hint("context", "auto")
    fields.hint("mode", "standard")
    fields.done()
    return {"effort": word} if word else None


def _include(node: Node | None) -> None:
    for name in node.items() if node else ():
        if why := _INCLUDABLE.get(name.text()):
            raise name.refused(why)
        if name.value != "reasoning.encrypted_content":
            name.ignore()


def _stream_options(node: Node | None) -> None:
    if node is not None:
        fields = node.fields()
        fields.hint("include_obfuscation", False)
        fields.done()
