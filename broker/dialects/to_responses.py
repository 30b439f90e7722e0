"""The canonical request as the body of OpenAI's ``POST /responses``. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from broker.dialects.files import input_file
from broker.dialects.ids import RESPONSES_LENGTH, short_id
from broker.dialects.prefix import own_options
from broker.dialects.vendors import Untranslatable
from broker.request import (
    ContentPart,
    FilePart,
    GenerationRequest,
    ImagePart,
    Message,
    NamedToolChoice,
    ReasoningPart,
    RefusalPart,
    StoredRequest,
    TextPart,
    Tool,
)

RESERVED = frozenset({"model", "input", "stream"})
"""What ``provider_options`` may not set: the adapter depends on it."""
ENCRYPTED = "reasoning.encrypted_content"
_MERGED = ("reasoning", "text")
"""Objects that the request and its options fill together."""
_DO_NOT_THINK = ("gpt-3", "gpt-4", "chatgpt-4o", "gpt-5-chat")
"""OpenAI's models that refuse to be asked for encrypted reasoning, for they have none."""


def request_to_responses(
    request: GenerationRequest, model: str, *, provider: str = "openai-responses", background: bool = False
) -> dict[str, Any]:
    """The body, ``provider_options`` merged in last.

    ``provider``: whose reasoning goes back in; anybody else's stays here. ``background``: what holds where the options
    do not say ``background`` themselves; such an answer is made whether or not anybody listens, and is stored upstream.
    ``metadata`` stays here, and so do names of users and ``reasoning.budget_tokens``, for which this API has no word.

    Raises :class:`Untranslatable` for reserved options, for ``stop``, which this API does not
    know, for a background that may not be stored, and for a ``response_format`` that is none.
    """
    options = dict(own_options(request, RESERVED))
    if request.stops():
        raise Untranslatable("stop: the Responses API knows no stop sequences", field="stop")
    body: dict[str, Any] = {
        "model": model,
        "input": [item for at, message in enumerate(request.conversation()) for item in _items(message, at, provider)],
        "stream": True,
        "store": False,
        **_fields(request),
    }
    if not model.startswith(_DO_NOT_THINK):
        body["include"] = [ENCRYPTED]
    if options.pop("background", background):
        if options.get("store") is False:
            raise Untranslatable("a background answer has to be stored", field="provider_options.store")
        body |= {"background": True, "store": True}
    for name in _MERGED:
        if isinstance(options.get(name), dict):
            options[name] = body.get(name, {}) | options[name]
    return body | options


def _fields(request: GenerationRequest) -> dict[str, Any]:
    choice, reasoning = request.tool_choice, request.reasoning
    given: dict[str, Any] = {
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "tools": [_tool(tool) for tool in request.tools or ()] or None,
        "tool_choice": {"type": "function", "name": choice.function.name}
        if isinstance(choice, NamedToolChoice)
        else choice,
        "parallel_tool_calls": request.parallel_tool_calls if request.tools else None,
        "text": None if request.response_format is None else {"format": _format(request.response_format)},
        "reasoning": None
        if reasoning is None
        else _present({"effort": reasoning.effort, "summary": _summary(request)}),
    }
    return _present(given)


def _summary(request: GenerationRequest) -> str | None:
    """Asked for where our own words have none for it; a client of this dialect's says it, or wants none."""
    wire = request.wire if isinstance(request, StoredRequest) else None
    return None if wire is not None and wire.dialect == "openai.responses" else "auto"


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _tool(tool: Tool) -> dict[str, Any]:
    function = tool.function
    return {
        "type": "function",
        "name": function.name,
        **_present({"description": function.description}),
        "parameters": function.parameters or {"type": "object", "properties": {}},
        # Here strict is the default, in the canonical request it is not.
        "strict": function.strict or False,
    }


def _format(wanted: dict[str, Any]) -> dict[str, Any]:
    schema = wanted.get("json_schema")
    if wanted.get("type") != "json_schema" or not isinstance(schema, dict):
        if wanted.get("type") == "json_schema":
            raise Untranslatable("response_format: json_schema is missing", field="response_format")
        return wanted
    return {"type": "json_schema", **schema}


def _items(message: Message, index: int, provider: str) -> list[dict[str, Any]]:
    content = message.content
    parts: Sequence[ContentPart] = [TextPart(type="text", text=content)] if isinstance(content, str) else content or ()
    if message.role == "tool":
        output = content if isinstance(content, str) else _input_parts(parts, index)
        return [
            {
                "type": "function_call_output",
                "call_id": short_id(message.tool_call_id or "", RESPONSES_LENGTH),
                "output": output,
            }
        ]
    if message.role != "assistant":
        return [{"type": "message", "role": message.role, "content": _input_parts(parts, index)}]
    items: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, ReasoningPart):
            items += _thought(part, provider)
        elif items and items[-1]["type"] == "message":
            items[-1]["content"].append(_output_part(part))
        else:
            items.append({"type": "message", "role": "assistant", "content": [_output_part(part)]})
    for call in message.tool_calls or ():
        function = call.function
        said = {"name": function.name, "arguments": function.arguments}
        items.append({"type": "function_call", "call_id": short_id(call.id, RESPONSES_LENGTH), **said})
    return items


def _thought(part: ReasoningPart, provider: str) -> list[dict[str, Any]]:
    """The item it was; without what only the provider can read, it would be refused."""
    sealed = part.signature or part.opaque
    if part.provider != provider or not sealed:
        return []
    summary = [{"type": "summary_text", "text": part.text}] if part.text else []
    return [{"type": "reasoning", "summary": summary, "encrypted_content": sealed}]


def _input_parts(parts: Sequence[ContentPart], index: int) -> list[dict[str, Any]]:
    return [_input_part(part, f"messages.{index}.content.{at}") for at, part in enumerate(parts)]


def _input_part(part: ContentPart, path: str) -> dict[str, Any]:
    match part:
        case FilePart():
            return input_file(part, path)
        case ImagePart(image_url=image):
            return {"type": "input_image", "image_url": image.url, "detail": image.detail or "auto"}
        case RefusalPart(refusal=text) | TextPart(text=text) | ReasoningPart(text=text):
            return {"type": "input_text", "text": text}


def _output_part(part: ContentPart) -> dict[str, Any]:
    match part:
        case RefusalPart(refusal=refusal):
            return {"type": "refusal", "refusal": refusal}
        case ImagePart() | FilePart():
            raise Untranslatable("messages: an assistant's message can't hold an image or a file", field="messages")
        case TextPart(text=text) | ReasoningPart(text=text):
            return {"type": "output_text", "text": text}
