"""The canonical conversation as Anthropic's ``messages`` and ``system``: pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from broker.dialects.arguments import arguments_of
from broker.dialects.files import data_of, document
from broker.dialects.ids import anthropic_id
from broker.dialects.vendors import Untranslatable
from broker.request import (
    CacheControl,
    ContentPart,
    FilePart,
    GenerationRequest,
    ImagePart,
    Message,
    ReasoningPart,
    StoredRequest,
    TextPart,
    ToolCallPart,
)

_SYSTEM = ("system", "developer")


def system_of(request: GenerationRequest) -> str | list[dict[str, Any]]:
    """The text of ``system``; in blocks where one of them is marked for the cache."""
    blocks = [{"type": "text", "text": request.instructions}] if request.instructions else []
    for index, message in enumerate(request.conversation()):
        if message.role in _SYSTEM and not _stays(request, index):
            said = _content(message.content, f"messages.{index}.content")
            blocks += [block for block in said if block["type"] == "text"]
    if any("cache_control" in block for block in blocks):
        return blocks
    return "\n\n".join(block["text"] for block in blocks)


def messages_of(request: GenerationRequest) -> list[dict[str, Any]]:
    """The conversation without what is ``system``; neighbours of one role are one message."""
    messages: list[dict[str, Any]] = []
    for index, message in enumerate(request.conversation()):
        if message.role in _SYSTEM and not _stays(request, index):
            continue
        path = f"messages.{index}"
        blocks = _tool_result(message, path) if message.role == "tool" else _content(message.content, f"{path}.content")
        blocks += [_tool_use(call, f"{path}.tool_calls.{at}") for at, call in enumerate(message.tool_calls or ())]
        role = message.role if message.role in ("assistant", "system") else "user"
        if messages and messages[-1]["role"] == role:
            said = messages[-1]["content"]
            # The results of calls must come before all else that the user says.
            at = _results_in(said) if message.role == "tool" else len(said)
            said[at:at] = blocks
        elif blocks:
            messages.append({"role": role, "content": blocks})
    return messages


def thoughtless(messages: Sequence[dict[str, Any]]) -> bool:
    """Whether the model is to go on behind results of tools that it called without a thought.

    So it is where another wire had no word for what was thought, or another vendor's model made the calls. Models that
    think by a budget refuse to begin to think in the middle of such a turn; effort is a hint, the answer is not.
    """
    for turn in reversed(messages):
        kinds = {block["type"] for block in turn["content"]}
        if turn["role"] == "assistant" and kinds & {"thinking", "redacted_thinking"}:
            return False
        if turn["role"] == "user" and "tool_result" not in kinds:
            return turn is not messages[-1]
    return False


def _results_in(blocks: list[dict[str, Any]]) -> int:
    """How many results the blocks begin with."""
    return next((at for at, block in enumerate(blocks) if block["type"] != "tool_result"), len(blocks))


def _stays(request: GenerationRequest, index: int) -> bool:
    """Anthropic's own clients say ``system`` in the middle of a conversation only to models that know it."""
    wire = request.wire if isinstance(request, StoredRequest) else None
    if wire is None or wire.dialect != "anthropic":
        return False
    return any(message.role not in _SYSTEM for message in request.conversation()[:index])


def _content(content: str | Sequence[ContentPart] | None, path: str) -> list[dict[str, Any]]:
    if content is None or isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [block for at, part in enumerate(content) for block in _blocks(part, f"{path}.{at}")]


def _blocks(part: ContentPart, path: str) -> list[dict[str, Any]]:
    if isinstance(part, ReasoningPart):
        return _thought(part)
    if isinstance(part, FilePart):
        return [{**document(part, path), **_mark(part.cache_control)}]
    if isinstance(part, ImagePart):
        return [{"type": "image", "source": _image(part.image_url.url, path), **_mark(part.cache_control)}]
    if isinstance(part, TextPart):
        text, mark = part.text, _mark(part.cache_control)
    else:
        text, mark = part.refusal, {}
    # An empty text block is refused.
    return [{"type": "text", "text": text, **mark}] if text else []


def _thought(part: ReasoningPart) -> list[dict[str, Any]]:
    """Thinking that this API signed or encrypted itself; no other would be accepted."""
    if part.provider != "anthropic":
        return []
    if part.opaque is not None:
        return [{"type": "redacted_thinking", "data": part.opaque}]
    if part.signature is not None:
        return [{"type": "thinking", "thinking": part.text, "signature": part.signature}]
    return []


def _image(url: str, path: str) -> dict[str, str]:
    if data := data_of(url):
        return {"type": "base64", "media_type": data.media_type, "data": data.base64}
    if url.startswith("https://"):
        return {"type": "url", "url": url}
    raise Untranslatable("an image needs an https URL or a data URL in base64", field=f"{path}.image_url.url")


def _tool_result(message: Message, path: str) -> list[dict[str, Any]]:
    failed = {"is_error": True} if message.is_error else {}
    content = _content(message.content, f"{path}.content")
    result = {"type": "tool_result", "tool_use_id": anthropic_id(message.tool_call_id or ""), "content": content}
    return [{**result, **failed, **_mark(message.cache_control)}]


def _tool_use(call: ToolCallPart, path: str) -> dict[str, Any]:
    value = arguments_of(call.function.arguments)
    if value is None:
        raise Untranslatable(
            f"the arguments of the tool call {call.id!r} are not a JSON object", field=f"{path}.function.arguments"
        )
    use: dict[str, Any] = {
        "type": "tool_use",
        "id": anthropic_id(call.id),
        "name": call.function.name,
        "input": value,
    }
    return {**use, **_mark(call.cache_control)}


def _mark(mark: CacheControl | None) -> dict[str, Any]:
    return {"cache_control": mark.model_dump(exclude_none=True)} if mark else {}
