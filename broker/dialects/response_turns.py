"""The input items of the Responses API as canonical messages: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from broker.content import Block
from broker.dialects.files import file_part
from broker.dialects.reading import Fields, Node
from broker.dialects.sealed import unseal
from broker.dialects.turns import Turns, as_content, image_part, refusal_part, text_part, tool_call
from broker.dialects.vendors import MEDIA_IN_RESULTS, OPENAI_FILES
from broker.request import (
    ContentPart,
    FunctionCall,
    Message,
    ReasoningPart,
    RefusalPart,
    StoredRequest,
    TextPart,
    ToolCallPart,
)

HOME = "openai-responses"
_ROLES = ("user", "assistant", "system", "developer")
_ASKING = ("input_text", "input_image", "input_file")
_LOST = "cannot be passed on through the log"
_BOOKKEEPING = ("id", "status")


@dataclass(frozen=True, slots=True)
class Previous:
    """The response that is gone on from: what it was asked, what it answered, and who gave the answer."""

    request: StoredRequest
    blocks: list[Block]
    provider: str


@dataclass(frozen=True, slots=True)
class Referenced:
    """An output item of an earlier response, and who gave it."""

    block: Block
    provider: str


def before(previous: Previous | None) -> list[Message]:
    """The conversation up to the new input; instructions are not inherited."""
    if previous is None:
        return []
    turns = Turns(previous.request.conversation())
    say_blocks(previous.blocks, previous.provider, turns)
    return turns.messages()


def say_blocks(blocks: Iterable[Block], provider: str, turns: Turns) -> None:
    """An answer of ours, as its turn in the conversation. A call whose arguments broke off was never made."""
    for block in blocks:
        match block.kind:
            case "text":
                turns.say(TextPart(type="text", text=block.text))
            case "refusal":
                turns.say(RefusalPart(type="refusal", refusal=block.text))
            case "reasoning":
                turns.say(
                    ReasoningPart(
                        type="reasoning",
                        text=block.text,
                        signature=block.signature,
                        opaque=block.opaque,
                        provider=provider,
                    )
                )
            case "tool_call":
                if block.whole:
                    function = FunctionCall(name=block.name, arguments=block.text)
                    turns.call(ToolCallPart(id=block.call_id, function=function))


def say_item(node: Node, turns: Turns, referenced: Mapping[str, Referenced]) -> None:
    """One item of ``input``."""
    fields = node.fields()
    kind = fields.take("type")
    match "message" if kind is None and fields.has("role") else kind.value if kind else "item_reference":
        case "message":
            _message(node, fields, turns)
        case "function_call":
            turns.call(_call(fields))
        case "function_call_output":
            turns.add(_output(fields))
        case "reasoning":
            turns.say(_reasoning(node, fields))
        case "item_reference":
            _refer(fields.need("id"), turns, referenced)
        case _:
            raise (kind or node).refused(_LOST)
    fields.done()


def _message(node: Node, fields: Fields, turns: Turns) -> None:
    role = fields.need("role").word(_ROLES)
    content = fields.need("content")
    fields.skip(*_BOOKKEEPING)
    fields.hint("phase")
    if isinstance(content.value, str):
        parts: list[ContentPart] = [text_part(content)]
    else:
        parts = [_part(part, role) for part in content.items()]
    if role != "assistant":
        turns.add(node.made(Message, {"role": role, "content": as_content(parts)}))
        return
    turns.begin_answer()
    turns.say(*parts)


def _part(node: Node, role: str) -> ContentPart:
    fields = node.fields()
    kind = fields.need("type")
    part: ContentPart
    # Easy messages of the assistant's may hold what it said as input_text.
    match kind.word(("output_text", "input_text", "refusal") if role == "assistant" else _ASKING):
        case "refusal":
            part = refusal_part(fields.need("refusal"))
        case "input_image":
            part = _image(fields)
        case "input_file":
            part = _file(node, fields)
        case _:
            part = text_part(fields.need("text"))
            fields.hint("annotations", [])
            fields.hint("logprobs", [])
    fields.hint("prompt_cache_breakpoint")
    fields.done()
    return part


def _image(fields: Fields) -> ContentPart:
    fields.refuse("file_id", "files of the provider's cannot be passed on: give image_url")
    return image_part(fields.need("image_url"), fields.take("detail"))


def _file(node: Node, fields: Fields) -> ContentPart:
    fields.hint("detail", "auto")
    given = {name: fields.take(name) for name in ("filename", "file_data", "file_url", "file_id")}
    return file_part(node, given, OPENAI_FILES)


def _call(fields: Fields) -> ToolCallPart:
    fields.skip(*_BOOKKEEPING)
    fields.refuse("caller", _LOST, {"type": "direct"})
    fields.refuse("namespace", _LOST)
    fields.refuse("async", _LOST, False)
    return tool_call(fields.need("call_id"), fields.need("name"), fields.need("arguments"))


def _output(fields: Fields) -> Message:
    fields.skip(*_BOOKKEEPING, "name")
    fields.refuse("caller", _LOST, {"type": "direct"})
    fields.refuse("namespace", _LOST)
    output, call_id = fields.need("output"), fields.need("call_id")
    if isinstance(output.value, str):
        said: str | list[ContentPart] = output.text()
    else:
        said = as_content([_result(part) for part in output.items()])
    return call_id.made(Message, {"role": "tool", "tool_call_id": call_id.text(), "content": said})


def _result(node: Node) -> ContentPart:
    part = _part(node, "tool")
    if part.type != "text" and node.vendor not in MEDIA_IN_RESULTS:
        raise node.refused("the provider of this model takes text in a tool's result only")
    return part


def _reasoning(node: Node, fields: Fields) -> ReasoningPart:
    fields.skip(*_BOOKKEEPING)
    summary, content, field = fields.take("summary"), fields.take("content"), fields.take("encrypted_content")
    text = _texts(summary, "summary_text") or _texts(content, "reasoning_text")
    given: dict[str, Any] = {"type": "reasoning", "text": text, "provider": HOME}
    if field is None:
        return node.made(ReasoningPart, given)
    sealed = unseal(field.text(), "signature" if text else "opaque", home=HOME)
    return field.made(ReasoningPart, given | {sealed.part: sealed.payload, "provider": sealed.provider})


def _texts(node: Node | None, kind: str) -> str:
    if node is None:
        return ""
    texts: list[str] = []
    for part in node.items():
        fields = part.fields()
        fields.need("type").word((kind,))
        texts.append(fields.need("text").text())
        fields.done()
    return "\n\n".join(texts)


def _refer(node: Node, turns: Turns, referenced: Mapping[str, Referenced]) -> None:
    found = referenced.get(node.text())
    if found is None:
        raise node.refused("there is no such item: give the item itself, or previous_response_id")
    if found.block.kind in ("text", "refusal"):
        turns.begin_answer()
    say_blocks([found.block], found.provider, turns)
