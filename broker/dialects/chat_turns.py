"""The messages of chat completions as canonical ones: pure."""

from __future__ import annotations

from typing import Any

from broker.dialects.files import file_part
from broker.dialects.reading import Fields, Node
from broker.dialects.turns import as_content, cache_mark, image_part, refusal_part, text_part, tool_call
from broker.dialects.vendors import OPENAI_FILES
from broker.request import CacheControl, ContentPart, FilePart, Message, ReasoningPart, ToolCallPart

_ROLES = ("system", "developer", "user", "assistant", "tool")
_PARTS = {"user": ("text", "image_url", "file"), "assistant": ("text", "refusal")}
"""What a message of a role may be made of; the others: of text."""
_LOST = {"input_audio": "sound cannot be passed on"}
"""Parts that chat completions know and the canonical request does not."""


def chat_message(node: Node) -> Message:
    """One message."""
    fields = node.fields()
    role = fields.need("role")
    if role.value == "function":
        raise role.refused("is served in its newer form only: give a message of the role tool")
    said: dict[str, Any] = {"role": role.word(_ROLES)}
    content = fields.take("content") if role.value == "assistant" else fields.need("content")
    parts = _content(content, role.text()) if content else []
    if role.value == "assistant":
        parts = [*_thought(fields), *parts, *_refusal(fields)]
        said["tool_calls"] = _calls(fields.take("tool_calls"))
    if role.value == "tool":
        said |= {"tool_call_id": fields.need("tool_call_id").text(), "cache_control": cache_mark(fields)}
    name = fields.take("name")
    if name is not None:
        said["name"] = name.text()
        if node.vendor == "anthropic":
            name.ignore()
    fields.done()
    said["content"] = as_content(parts) if parts or not said.get("tool_calls") else None
    if not parts and content is None and not said["tool_calls"]:
        raise node.refused("an assistant's message needs content or tool_calls")
    return node.made(Message, said)


def _content(node: Node, role: str) -> list[ContentPart]:
    if isinstance(node.value, str):
        return [text_part(node)]
    return [_part(part, _PARTS.get(role, ("text",))) for part in node.items()]


def _part(node: Node, allowed: tuple[str, ...]) -> ContentPart:
    fields = node.fields()
    kind = fields.need("type")
    if kind.text() in _LOST:
        raise node.refused(_LOST[kind.text()])
    fields.hint("prompt_cache_breakpoint")
    part: ContentPart
    match kind.word(allowed):
        case "text":
            part = text_part(fields.need("text"), cache_mark(fields))
        case "refusal":
            part = refusal_part(fields.need("refusal"))
        case "file":
            part = _file(fields.need("file"), cache_mark(fields))
        case _:
            image = fields.need("image_url").fields()
            part = image_part(image.need("url"), image.take("detail"), cache_mark(fields))
            image.done()
    fields.done()
    return part


def _file(node: Node, mark: CacheControl | None) -> FilePart:
    fields = node.fields()
    part = file_part(
        node, {name: fields.take(name) for name in ("filename", "file_data", "file_id")}, OPENAI_FILES, mark
    )
    fields.done()
    return part


def _thought(fields: Fields) -> list[ContentPart]:
    """Reasoning in the words of the compatible servers, which have no signatures."""
    thoughts = [node for name in ("reasoning_content", "reasoning") if (node := fields.take(name))]
    return [node.made(ReasoningPart, {"type": "reasoning", "text": node.text()}) for node in thoughts[:1]]


def _refusal(fields: Fields) -> list[ContentPart]:
    fields.refuse("audio", "sound cannot be passed on")
    fields.refuse("function_call", "is served in its newer form only: give tool_calls")
    fields.hint("annotations", [])
    _notes(fields)
    refusal = fields.take("refusal")
    return [refusal_part(refusal)] if refusal else []


def _notes(fields: Fields) -> None:
    """What LiteLLM writes beside every answer, and its users give back with it."""
    fields.hint("provider_specific_fields", {}, {"refusal": None})


def _calls(node: Node | None) -> list[ToolCallPart] | None:
    return None if node is None else [_call(call) for call in node.items()] or None


def _call(node: Node) -> ToolCallPart:
    fields = node.fields()
    kind = fields.take("type")
    if kind is not None and kind.value != "function":
        raise kind.refused("only functions can be called")
    function = fields.need("function").fields()
    fields.skip("index")
    _notes(fields)
    made = tool_call(fields.need("id"), function.need("name"), function.need("arguments"), cache_mark(fields))
    function.done()
    fields.done()
    return made
