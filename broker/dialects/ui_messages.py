"""The AI SDK's messages (UIMessage) as canonical ones: pure.

An assistant's message is made of steps. A step is what the model said in one answer, followed by what the tools that
it called gave; in the canonical conversation that is a message of the assistant's and one for each result.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple, NoReturn, cast

from pydantic import ValidationError

from broker.errors import InvalidRequest
from broker.request import (
    ContentPart,
    File,
    FilePart,
    FunctionCall,
    ImagePart,
    ImageURL,
    Message,
    ReasoningPart,
    TextPart,
    ToolCallPart,
)

_ROLES = ("system", "user", "assistant")
_SILENT = ("source-url", "source-document", "custom", "step-start")
"""Parts that a model is told nothing of; so are all of an app's own ``data-…``."""


class UIMessage(NamedTuple):
    """A message of which nothing but the role is known to be right."""

    id: str | None
    role: str
    parts: list[Any]
    path: str


def at(path: str, why: str) -> InvalidRequest:
    """What is wrong with the field there."""
    return InvalidRequest(f"{path} {why}", field=path)


def as_object(value: object, path: str) -> dict[str, Any]:
    """The object there. Raises ``InvalidRequest``."""
    if not isinstance(value, dict):
        raise at(path, "must be an object")
    return cast("dict[str, Any]", value)


def read_messages(value: object) -> list[UIMessage]:
    """The messages of a body. Raises ``InvalidRequest``."""
    if not isinstance(value, list) or not value:
        raise at("messages", "must be a non-empty array")
    return [_message(one, f"messages.{index}") for index, one in enumerate(cast("list[Any]", value))]


def conversation(messages: list[UIMessage]) -> list[Message]:
    """All of them as canonical messages, in order. Raises ``InvalidRequest``."""
    told: list[Message] = []
    asked = max((index for index, message in enumerate(messages) if message.role == "user"), default=0)
    for index, message in enumerate(messages):
        try:
            told += _assistant(message, past=index < asked) if message.role == "assistant" else [_plain(message)]
        except ValidationError as error:
            raise at(message.path, f"is not valid: {error.errors(include_url=False)[0]['msg']}") from None
    if not told:
        raise at("messages", "hold nothing that a model can read")
    return told


def _message(value: object, path: str) -> UIMessage:
    fields = as_object(value, path)
    role, parts, name = fields.get("role"), fields.get("parts"), fields.get("id")
    if role not in _ROLES:
        raise at(f"{path}.role", f"must be one of {', '.join(_ROLES)}")
    if not isinstance(parts, list):
        raise at(f"{path}.parts", "must be an array")
    return UIMessage(name if isinstance(name, str) and name else None, str(role), cast("list[Any]", parts), path)


def _plain(message: UIMessage) -> Message:
    said: list[ContentPart] = []
    for part, path in _parts(message):
        match part["type"]:
            case "text":
                said.append(_text(part, path))
            case "file" if message.role == "user":
                said.append(_file(part, path))
            case _:
                _skip(part["type"], path)
    if not said:
        raise at(f"{message.path}.parts", "hold nothing that a model can read")
    if message.role == "system":
        return Message(role="system", content="".join(part.text for part in said if isinstance(part, TextPart)))
    return Message(role="user", content=_content(said))


# -- an assistant's ---------------------------------------------------------------------------------------------------


class _Step:
    """What one answer of the model said and called, and what came of the calls.

    ``past``: the user has said something else since, so a call that nobody answered will never be. No provider takes
    one in the middle of a conversation: the chat could not go on.
    """

    def __init__(self, *, past: bool) -> None:
        self.past = past
        self.said: list[ContentPart] = []
        self.calls: list[ToolCallPart] = []
        self.results: list[Message] = []

    def messages(self) -> list[Message]:
        """In the order that every provider takes: what was said, the calls, their results."""
        if not self.said and not self.calls:
            return []
        content = _content(self.said) if self.said else None
        return [Message(role="assistant", content=content, tool_calls=self.calls or None), *self.results]


def _assistant(message: UIMessage, *, past: bool) -> list[Message]:
    told: list[Message] = []
    step = _Step(past=past)
    for part, path in _parts(message):
        kind: str = part["type"]
        if kind in ("step-start", "steering-message"):
            told += step.messages()
            step = _Step(past=past)
        if kind == "text":
            step.said.append(_text(part, path))
        elif kind == "reasoning":
            step.said.append(_reasoning(part, path))
        elif kind == "dynamic-tool" or kind.startswith("tool-"):
            _tool(step, part, path)
        elif kind == "steering-message":
            inner = part.get("parts")
            told.append(_plain(_message({"role": "user", "parts": inner}, path)))
        else:
            _skip(kind, path)
    return told + step.messages()


def _reasoning(part: dict[str, Any], path: str) -> ReasoningPart:
    """With what only its provider can read, as the client kept it."""
    text = _string(part, "text", path)
    by_provider = part.get("providerMetadata")
    for provider, value in as_object({} if by_provider is None else by_provider, f"{path}.providerMetadata").items():
        known = as_object(value, f"{path}.providerMetadata.{provider}")
        signature, opaque = known.get("signature"), known.get("redactedData", known.get("opaque"))
        if isinstance(signature, str):
            return ReasoningPart(type="reasoning", text=text, signature=signature, provider=provider)
        if isinstance(opaque, str):
            return ReasoningPart(type="reasoning", text=text, opaque=opaque, provider=provider)
    return ReasoningPart(type="reasoning", text=text)


def _tool(step: _Step, part: dict[str, Any], path: str) -> None:
    state = part.get("state")
    if state == "input-streaming":
        # A call that never came to an end: nobody can answer it.
        return
    named = part["type"] == "dynamic-tool"
    name = _string(part, "toolName", path) if named else str(part["type"]).removeprefix("tool-")
    call_id = _string(part, "toolCallId", path)
    if not name or not call_id:
        raise at(f"{path}.{'toolCallId' if name else 'toolName' if named else 'type'}", "must not be empty")
    arguments = _arguments(part, path)
    result = _result(part, path)
    if result is None and step.past:
        return
    step.calls.append(ToolCallPart(id=call_id, function=FunctionCall(name=name, arguments=arguments)))
    if result is not None:
        content, failed = result
        step.results.append(
            Message(role="tool", tool_call_id=call_id, content=content, is_error=True if failed else None)
        )


def _arguments(part: dict[str, Any], path: str) -> str:
    value: object = part.get("input")
    if part.get("state") == "output-error" and not isinstance(value, dict):
        # What the model said was no JSON. The call must be told of, as its result is; no provider takes broken JSON.
        return "{}"
    return "{}" if value is None else _json(cast("object", value), f"{path}.input")


def _result(part: dict[str, Any], path: str) -> tuple[str, bool] | None:
    """What the tool gave, and whether it failed; None while there is nothing."""
    approval = part.get("approval")
    approved = cast("dict[str, Any]", approval) if isinstance(approval, dict) else {}
    match part.get("state"):
        case "output-available":
            output = part.get("output")
            return output if isinstance(output, str) else _json(output, f"{path}.output"), False
        case "output-error":
            return _string(part, "errorText", path), True
        case "output-denied":
            return _denied(approved), True
        case "approval-responded" if approved.get("approved") is False:
            return _denied(approved), True
        case "input-available" | "approval-requested" | "approval-responded":
            return None
        case _:
            raise at(f"{path}.state", "is not one of a tool's states")


def _denied(approval: dict[str, Any]) -> str:
    reason = approval.get("reason")
    return reason if isinstance(reason, str) and reason else "Tool call execution denied."


# -- parts ------------------------------------------------------------------------------------------------------------


def _parts(message: UIMessage) -> list[tuple[dict[str, Any], str]]:
    parts = [
        (as_object(part, f"{message.path}.parts.{n}"), f"{message.path}.parts.{n}")
        for n, part in enumerate(message.parts)
    ]
    for part, path in parts:
        _string(part, "type", path)
    return parts


def _text(part: dict[str, Any], path: str) -> TextPart:
    return TextPart(type="text", text=_string(part, "text", path))


def _file(part: dict[str, Any], path: str) -> ImagePart | FilePart:
    media_type, url = _string(part, "mediaType", path), _string(part, "url", path)
    if media_type.startswith(("audio", "video")):
        raise at(f"{path}.mediaType", "cannot be a recording's: it cannot be passed on")
    image = media_type == "image" or media_type.startswith("image/")
    if not url.startswith(("https://", "data:image/" if image else "data:")):
        raise at(f"{path}.url", "must be an https URL or a data URL of such a file")
    if image:
        return ImagePart(type="image_url", image_url=ImageURL(url=url))
    name = part.get("filename")
    place = {"file_data" if url.startswith("data:") else "file_url": url}
    return FilePart(type="file", file=File(filename=name if isinstance(name, str) else None, **place))


def _skip(kind: str, path: str) -> None:
    if kind not in _SILENT and not kind.startswith("data-"):
        _refuse(kind, path)


def _refuse(kind: str, path: str) -> NoReturn:
    raise at(f"{path}.type", f"{kind[:64]!r} cannot be passed on in this message")


def _content(said: list[ContentPart]) -> str | list[ContentPart]:
    return said[0].text if len(said) == 1 and isinstance(said[0], TextPart) else said


def _string(fields: dict[str, Any], name: str, path: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise at(f"{path}.{name}", "must be a string")
    return value


def _json(value: object, path: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError):
        raise at(path, "is not JSON") from None
