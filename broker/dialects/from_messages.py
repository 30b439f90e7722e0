"""A body of Anthropic's ``POST /v1/messages`` as the canonical request: pure."""

from __future__ import annotations

import re
from typing import Any

from broker.dialects.hints import MESSAGES_RULES, options_by
from broker.dialects.message_turns import say_message, system_part
from broker.dialects.reading import Fields, Node, Reading
from broker.dialects.settings import stops, temperature
from broker.dialects.translated import Translated, ours_of, stored
from broker.dialects.turns import Turns, cache_mark
from broker.dialects.vendors import CACHE_CONTROL, PREFILL, Vendor
from broker.request import Function, GenerationRequest, Message, NamedToolChoice, StoredRequest, Tool

EFFORT_OF_BUDGET = ((2048, "low"), (8192, "medium"))
"""``budget_tokens`` up to which thinking is of this effort, for vendors that know no budget; above them: high."""
BETA_HEADER = "anthropic-beta"
_BETAS = re.compile(r"[\w., :-]{1,4096}", re.ASCII)
_OWN_TOOL_FIELDS = ("eager_input_streaming", "input_examples")
"""Of a tool: what only Anthropic knows."""
_NAMES = {"max_output_tokens": "max_tokens", "stop": "stop_sequences", "parallel_tool_calls": "tool_choice"}


def from_messages(body: dict[str, Any], vendor: Vendor, betas: str = "") -> Translated:
    """The request and what was left out of it, for a model of this vendor's.

    Anthropic gets its own fields as they are, thinking and its efforts too; block-level ``cache_control`` is kept where
    it stands. ``betas`` = what the request's header says of betas.

    Raises :class:`broker.errors.InvalidRequest` naming the field.
    """
    reading = Reading(vendor, marks=vendor in CACHE_CONTROL)
    fields = Node(body, "", reading).fields()
    instructions, before = _system(fields.take("system"))
    turns = Turns(before)
    for node in _conversation(fields.need("messages")):
        say_message(node, turns)
    options = options_by(MESSAGES_RULES, fields)
    top_p = fields.take("top_p")
    given: dict[str, Any] = {
        "model": fields.need("model").text(),
        "messages": turns.messages(),
        "instructions": instructions,
        "max_output_tokens": fields.need("max_tokens").number(),
        "temperature": temperature(fields),
        "top_p": top_p.number() if top_p else None,
        "stop": stops(fields.take("stop_sequences")),
        "tools": _tools(fields.take("tools"), options),
        **_choice(fields.take("tool_choice")),
        **_thinking(fields.take("thinking"), fields.take("output_config"), options),
    }
    stream = fields.take("stream")
    ours = ours_of(fields)
    if vendor == "compatible":
        options |= fields.left("n")
    request = stored(fields, given | ours, options, _NAMES, "anthropic", _betas(betas, reading))
    return Translated(request, tuple(reading.ignored), stream.flag() if stream else False)


def betas_of(request: GenerationRequest) -> str:
    """The betas that the request's header asked for, for the provider's."""
    wire = request.wire if isinstance(request, StoredRequest) else None
    betas = wire.echo.get("betas") if wire is not None and wire.dialect == "anthropic" else None
    return betas if isinstance(betas, str) else ""


def _betas(betas: str, reading: Reading) -> dict[str, Any]:
    """What to keep of them: Anthropic gets its own, to the others they say nothing."""
    node = Node(betas, BETA_HEADER, reading)
    if not betas:
        return {}
    if not _BETAS.fullmatch(betas):
        raise node.refused("must be names, with commas between them")
    if reading.vendor == "anthropic":
        return {"betas": betas}
    node.ignore()
    return {}


def _conversation(node: Node) -> list[Node]:
    items = node.items()
    if not items:
        raise node.refused("must not be empty")
    if node.vendor not in PREFILL and items[-1].object().get("role") == "assistant":
        raise items[-1].refused("the provider of this model cannot go on from an answer that was begun")
    return items


def _system(node: Node | None) -> tuple[str | None, list[Message]]:
    """As instructions, or in blocks as a message before all others."""
    if node is None or isinstance(node.value, str):
        return (node.text() or None if node else None), []
    parts = [system_part(block) for block in node.items()]
    return None, [Message(role="system", content=[*parts])] if parts else []


def _tools(node: Node | None, options: dict[str, Any]) -> list[Tool] | None:
    if node is None:
        return None
    tools = node.items()
    own = any(name in tool.object() for tool in tools for name in _OWN_TOOL_FIELDS)
    if own and node.vendor == "anthropic":
        options["tools"] = node.value
    return [_tool(tool) for tool in tools] or None


def _tool(node: Node) -> Tool:
    fields = node.fields()
    kind = fields.take("type")
    if kind is not None and kind.value != "custom":
        raise kind.refused("only tools with an input_schema can be called; others cannot be kept in the log")
    for name in _OWN_TOOL_FIELDS:
        if node.vendor == "anthropic":
            fields.skip(name)
        else:
            fields.hint(name, [], False)
    fields.refuse("allowed_callers", "only the model itself can call a tool here", ["direct"])
    fields.refuse("defer_loading", "tools cannot be searched for here", False)
    name, schema = fields.need("name"), fields.need("input_schema")
    description, strict = fields.take("description"), fields.take("strict")
    function = name.made(
        Function,
        {
            "name": name.text(),
            "description": description.text() if description else None,
            "parameters": schema.object(),
            "strict": strict.flag() if strict else None,
        },
    )
    mark = cache_mark(fields)
    fields.done()
    return node.made(Tool, {"type": "function", "function": function, "cache_control": mark})


def _choice(node: Node | None) -> dict[str, Any]:
    if node is None:
        return {}
    fields = node.fields()
    kind = fields.need("type").word(("auto", "any", "tool", "none"))
    single = fields.take("disable_parallel_tool_use")
    parallel = {"parallel_tool_calls": False} if single and single.flag() else {}
    if kind == "tool":
        name = fields.need("name")
        named = {"type": "function", "function": {"name": name.text()}}
        fields.done()
        return {"tool_choice": name.made(NamedToolChoice, named), **parallel}
    fields.done()
    return {"tool_choice": {"any": "required"}.get(kind, kind), **parallel}


def _thinking(thinking: Node | None, config: Node | None, options: dict[str, Any]) -> dict[str, Any]:
    """For Anthropic as it was said; for others an effort, and the schema as ``response_format``."""
    effort, schema = _output_config(config)
    reasoning = {**({"effort": effort} if effort else {}), **(_reasoning(thinking, effort) if thinking else {})}
    said = [node for node in (thinking, config) if node]
    if said and said[0].vendor == "anthropic":
        options |= {node.path: node.value for node in said}
        reasoning = {}
    return {"reasoning": reasoning or None, "response_format": schema}


def _reasoning(node: Node, effort: str | None) -> dict[str, Any]:
    fields = node.fields()
    named = fields.need("type")
    kind = named.word(("enabled", "adaptive", "disabled", "between_tools"))
    reasoning: dict[str, Any] = {}
    if kind == "enabled":
        budget = fields.need("budget_tokens").number()
        meant = next((word for most, word in EFFORT_OF_BUDGET if budget <= most), "high")
        reasoning = {"effort": effort or meant, "budget_tokens": budget}
    elif kind == "disabled":
        reasoning = {"effort": "none"}
    elif kind == "between_tools" and node.vendor != "anthropic":
        named.ignore()
    if node.vendor == "anthropic":
        fields.skip("display")
    fields.hint("display", "summarized")
    fields.done()
    return reasoning


def _output_config(node: Node | None) -> tuple[str | None, dict[str, Any] | None]:
    if node is None:
        return None, None
    fields = node.fields()
    effort, form = fields.take("effort"), fields.take("format")
    fields.done()
    word = effort.word(("low", "medium", "high", "xhigh", "max")) if effort else None
    return word, _schema(form) if form else None


def _schema(node: Node) -> dict[str, Any]:
    fields: Fields = node.fields()
    fields.need("type").word(("json_schema",))
    schema = fields.need("schema").object()
    fields.done()
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
