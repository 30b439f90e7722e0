"""The parts of a conversation that the dialects share, and the making of an assistant's turns out of pieces: pure."""

from __future__ import annotations

from broker.dialects.arguments import arguments_of
from broker.dialects.reading import Fields, Node
from broker.request import (
    CacheControl,
    ContentPart,
    FunctionCall,
    ImagePart,
    Message,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
)


def text_part(node: Node, mark: CacheControl | None = None) -> TextPart:
    """A string as a part."""
    return node.made(TextPart, {"type": "text", "text": node.text(), "cache_control": mark})


def refusal_part(node: Node) -> RefusalPart:
    """A string as a part."""
    return node.made(RefusalPart, {"type": "refusal", "refusal": node.text()})


def image_part(node: Node, detail: Node | None, mark: CacheControl | None = None) -> ImagePart:
    """An image by its URL."""
    url = node.text()
    if node.vendor == "anthropic":
        if not url.startswith(("https://", "data:")):
            raise node.refused("Anthropic takes images by https or data URL only")
        if detail is not None:
            detail.ignore()
    image = {"url": url, "detail": detail.text() if detail else None}
    return node.made(ImagePart, {"type": "image_url", "image_url": image, "cache_control": mark})


def cache_mark(fields: Fields) -> CacheControl | None:
    """The ``cache_control`` of an object, for those who know it; to the others it is a hint."""
    node = fields.take("cache_control")
    if node is None:
        return None
    if not node.reading.marks:
        node.ignore()
        return None
    return node.made(CacheControl, node.object())


def tool_call(call_id: Node, name: Node, arguments: Node, mark: CacheControl | None = None) -> ToolCallPart:
    """A call that was made; for Anthropic its arguments must be a JSON object."""
    text = arguments.text()
    if arguments.vendor == "anthropic" and arguments_of(text) is None:
        raise arguments.refused("Anthropic takes a JSON object only")
    function = name.made(FunctionCall, {"name": name.text(), "arguments": text})
    return call_id.made(ToolCallPart, {"id": call_id.text(), "function": function, "cache_control": mark})


def as_content(parts: list[ContentPart]) -> str | list[ContentPart]:
    """One plain text as the string that it is."""
    if len(parts) == 1 and isinstance(parts[0], TextPart) and parts[0].cache_control is None:
        return parts[0].text
    return parts


class Turns:
    """A conversation that is said piece by piece.

    In a message, calls come after all that was said. What is said after a call begins a further message of the same
    role, so that the order is kept for those who can be told of it.
    """

    def __init__(self, before: list[Message]) -> None:
        self._done = list(before)
        self._parts: list[ContentPart] = []
        self._calls: list[ToolCallPart] = []

    def say(self, *parts: ContentPart) -> None:
        """The assistant says or thinks more."""
        if self._calls:
            self.close()
        self._parts += parts

    def call(self, call: ToolCallPart) -> None:
        """The assistant calls a tool."""
        self._calls.append(call)

    def begin_answer(self) -> None:
        """A further message of the assistant's begins; what was only thought so far belongs to it."""
        if self._calls or not all(isinstance(part, ReasoningPart) for part in self._parts):
            self.close()

    def add(self, message: Message) -> None:
        """A whole message, by whomever."""
        self.close()
        self._done.append(message)

    def close(self) -> None:
        """The assistant's message so far is whole."""
        if self._parts or self._calls:
            content = as_content(self._parts) if self._parts else None
            self._done.append(Message(role="assistant", content=content, tool_calls=self._calls or None))
        self._parts, self._calls = [], []

    def messages(self) -> list[Message]:
        """All of it."""
        self.close()
        return self._done
