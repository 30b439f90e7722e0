"""The messages and blocks of Anthropic's dialect as canonical messages: pure."""

from __future__ import annotations

import json

from broker.dialects.files import file_part, text_url
from broker.dialects.reading import Fields, Node
from broker.dialects.sealed import Part, unseal
from broker.dialects.turns import Turns, as_content, cache_mark, image_part, text_part
from broker.dialects.vendors import ANTHROPIC_FILES, FAILED_RESULTS, MEDIA_IN_RESULTS
from broker.request import CacheControl, ContentPart, FunctionCall, Message, ReasoningPart, TextPart, ToolCallPart

HOME = "anthropic"
_LOST = "cannot be passed on through the log"


def system_part(node: Node) -> TextPart:
    """A block of ``system``."""
    fields = node.fields()
    fields.need("type").word(("text",))
    return _text(fields)


def say_message(node: Node, turns: Turns) -> None:
    """One message, which may be several of ours."""
    fields = node.fields()
    role = fields.need("role").word(("user", "assistant", "system"))
    content = fields.need("content")
    fields.done()
    blocks = [] if isinstance(content.value, str) else content.items()
    if isinstance(content.value, str):
        turns.add(content.made(Message, {"role": role, "content": content.text()}))
    elif role == "assistant":
        turns.close()
        for block in blocks:
            _say_block(block, turns)
        turns.close()
    elif role == "system":
        turns.add(content.made(Message, {"role": role, "content": [system_part(block) for block in blocks]}))
    else:
        _ask(blocks, turns)


def _ask(blocks: list[Node], turns: Turns) -> None:
    """A user's message: the results of tools are messages of their own."""
    parts: list[ContentPart] = []
    for block in blocks:
        if block.fields().need("type").value == "tool_result":
            _add_user(parts, turns)
            parts = []
            turns.add(_tool_result(block))
        else:
            parts.append(_shown(block))
    _add_user(parts, turns)


def _add_user(parts: list[ContentPart], turns: Turns) -> None:
    if parts:
        turns.add(Message(role="user", content=as_content(parts)))


def _say_block(node: Node, turns: Turns) -> None:
    fields = node.fields()
    kind = fields.need("type")
    match kind.value:
        case "text":
            turns.say(_text(fields))
        case "thinking":
            signature = fields.take("signature")
            turns.say(_thought(node, fields.need("thinking").text(), signature, "signature"))
        case "redacted_thinking":
            turns.say(_thought(node, "", fields.need("data"), "opaque"))
        case "tool_use":
            turns.call(_tool_use(fields))
        case _:
            kind.word(("text", "thinking", "redacted_thinking", "tool_use"))
    fields.done()


def _thought(node: Node, text: str, field: Node | None, part: Part) -> ReasoningPart:
    given = {"type": "reasoning", "text": text}
    if field is None or not field.text():
        return node.made(ReasoningPart, {**given, "provider": HOME})
    sealed = unseal(field.text(), part, home=HOME)
    return field.made(ReasoningPart, {**given, sealed.part: sealed.payload, "provider": sealed.provider})


def _tool_use(fields: Fields) -> ToolCallPart:
    fields.refuse("caller", _LOST, {"type": "direct"})
    fields.refuse("toolset_name", _LOST)
    name, call_id, given = fields.need("name"), fields.need("id"), fields.need("input")
    arguments = json.dumps(given.object(), ensure_ascii=False)
    function = given.made(FunctionCall, {"name": name.name(), "arguments": arguments})
    return call_id.made(ToolCallPart, {"id": call_id.text(), "function": function, "cache_control": cache_mark(fields)})


def _tool_result(node: Node) -> Message:
    fields = node.fields()
    fields.skip("type")
    fields.refuse("toolset_name", _LOST)
    content, failed, call_id = fields.take("content"), fields.take("is_error"), fields.need("tool_use_id")
    if failed and failed.value and node.vendor not in FAILED_RESULTS:
        failed.ignore()
    said = {
        "role": "tool",
        "tool_call_id": call_id.text(),
        "content": _result(content) if content else "",
        "is_error": failed.flag() or None if failed else None,
        "cache_control": cache_mark(fields),
    }
    fields.done()
    return call_id.made(Message, said)


def _result(node: Node) -> str | list[ContentPart]:
    if isinstance(node.value, str):
        return node.text()
    parts: list[ContentPart] = []
    for block in node.items():
        part = _shown(block)
        if part.type != "text" and node.vendor not in MEDIA_IN_RESULTS:
            raise block.refused("the provider of this model takes text in a tool's result only")
        parts.append(part)
    return as_content(parts)


def _shown(node: Node) -> ContentPart:
    """A text, an image or a document."""
    fields = node.fields()
    kind = fields.need("type")
    if kind.value == "text":
        return _text(fields)
    if kind.value == "document":
        return _document(node, fields)
    if kind.value != "image":
        raise kind.refused("only text and images can be passed on")
    fields.hint("transformations", {})
    source = fields.need("source")
    part = image_part(_image_url(source), None, cache_mark(fields))
    fields.done()
    return part


def _document(node: Node, fields: Fields) -> ContentPart:
    fields.refuse("citations", "citations cannot be kept in the log", {}, {"enabled": False})
    source, title, context, mark = (
        fields.need("source"),
        fields.take("title"),
        fields.take("context"),
        cache_mark(fields),
    )
    fields.done()
    inner = source.fields()
    kind = inner.need("type")
    if kind.value == "content":
        raise kind.refused("give the blocks of a document as blocks of the message")
    given = {"filename": title, "context": context}
    match kind.word(("base64", "text", "url", "file")):
        case "url":
            given["file_url"] = inner.need("url")
        case "file":
            given["file_id"] = inner.need("file_id")
        case "text":
            inner.need("media_type").word(("text/plain",))
            data = inner.need("data")
            if node.vendor not in ANTHROPIC_FILES and context is None:
                # Whoever else is asked reads a plain text best as what it is.
                inner.done()
                return _plain(data, title, mark)
            given["file_data"] = Node(text_url(data.text()), data.path, data.reading)
        case _:
            media, data = inner.need("media_type").text(), inner.need("data")
            given["file_data"] = Node(f"data:{media};base64,{data.text()}", data.path, data.reading)
    inner.done()
    return file_part(node, given, ANTHROPIC_FILES, mark)


def _plain(data: Node, title: Node | None, mark: CacheControl | None) -> ContentPart:
    if title is not None:
        title.ignore()
    return text_part(data, mark)


def _image_url(node: Node) -> Node:
    fields = node.fields()
    kind = fields.need("type")
    if kind.value == "file":
        raise kind.refused("files of the provider's cannot be passed on: give base64 or url")
    if kind.word(("base64", "url")) == "url":
        url = fields.need("url")
    else:
        media, data = fields.need("media_type").text(), fields.need("data")
        url = Node(f"data:{media};base64,{data.text()}", data.path, data.reading)
    fields.done()
    return url


def _text(fields: Fields) -> TextPart:
    fields.hint("citations", [])
    part = text_part(fields.need("text"), cache_mark(fields))
    fields.done()
    return part
