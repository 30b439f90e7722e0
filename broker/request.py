"""What a client may ask for: the canonical request, checked once at the door and carried to the worker as JSON.

Contract section 3. Unknown fields are refused, so that a misspelt option is never ignored in silence.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_RETENTION_S = 30 * 86400
MAX_DEADLINE_S = 86400
DEFAULT_DEADLINE_S = 3600


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)


class CacheControl(_Model):
    """Anthropic's mark: what stands up to here may be cached. Other providers are not told of it."""

    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] | None = None


class TextPart(_Model):
    """A piece of text in a message."""

    type: Literal["text"]
    text: str
    cache_control: CacheControl | None = None


class ImageURL(_Model):
    """Where an image is: an https or a data URL."""

    url: str = Field(min_length=1)
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImagePart(_Model):
    """An image in a message."""

    type: Literal["image_url"]
    image_url: ImageURL
    cache_control: CacheControl | None = None


class File(_Model):
    """A file: its data as a data URL, where it is, or the id under which its provider keeps it; one of them."""

    filename: str | None = None
    file_data: str | None = Field(default=None, min_length=1, description="A data URL in base64")
    file_url: str | None = Field(default=None, min_length=1)
    file_id: str | None = Field(default=None, min_length=1)
    context: str | None = Field(default=None, description="What the model is told about it; Anthropic only")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if sum(place is not None for place in (self.file_data, self.file_url, self.file_id)) != 1:
            raise ValueError("give one of file_data, file_url and file_id")
        return self


class FilePart(_Model):
    """A file in a message: a PDF, or what else the provider reads."""

    type: Literal["file"]
    file: File
    cache_control: CacheControl | None = None


class RefusalPart(_Model):
    """A refusal that an assistant gave earlier."""

    type: Literal["refusal"]
    refusal: str


class ReasoningPart(_Model):
    """What an assistant thought earlier; ``signature`` and ``opaque`` go back to ``provider`` only, byte for byte."""

    type: Literal["reasoning"]
    text: str = ""
    signature: str | None = None
    opaque: str | None = None
    provider: str | None = Field(default=None, description="Whose signature or opaque it is")


ContentPart = Annotated[TextPart | ImagePart | FilePart | RefusalPart | ReasoningPart, Field(discriminator="type")]


class FunctionCall(_Model):
    """The name and the JSON text of the arguments of a call that the assistant made."""

    name: str = Field(min_length=1)
    arguments: str


class ToolCallPart(_Model):
    """A tool call that the assistant made earlier."""

    id: str = Field(min_length=1)
    type: Literal["function"] = "function"
    function: FunctionCall
    cache_control: CacheControl | None = None


class Message(_Model):
    """One message of the conversation, with OpenAI's roles and content parts."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCallPart] | None = None
    tool_call_id: str | None = None
    is_error: bool | None = Field(default=None, description="Of a tool message: the tool failed")
    cache_control: CacheControl | None = Field(default=None, description="Of a tool message: after its result")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.role == "tool" and not self.tool_call_id:
            raise ValueError("a tool message needs tool_call_id")
        if self.role != "assistant" and self.tool_calls:
            raise ValueError("only an assistant message has tool_calls")
        if self.role != "tool" and (self.is_error is not None or self.cache_control is not None):
            raise ValueError("only a tool message has is_error and cache_control")
        if self.role != "assistant" and any(isinstance(part, ReasoningPart) for part in self.content or ()):
            raise ValueError("only an assistant message has reasoning")
        if self.content is None and not self.tool_calls:
            raise ValueError("a message needs content")
        return self


class Function(_Model):
    """A function the model may call; ``parameters`` is a JSON Schema."""

    name: str = Field(min_length=1, max_length=128)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(_Model):
    """A tool the model may call."""

    type: Literal["function"]
    function: Function
    cache_control: CacheControl | None = None


class NamedFunction(_Model):
    """The name of the function that must be called."""

    name: str = Field(min_length=1)


class NamedToolChoice(_Model):
    """Forces one function."""

    type: Literal["function"]
    function: NamedFunction


class Reasoning(_Model):
    """How much the model may think: an effort word (OpenAI) or a budget in tokens (Anthropic)."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    budget_tokens: int | None = Field(default=None, ge=1)


class Delivery(_Model):
    """How deltas are batched on their way into the log. The first token never waits."""

    batch: Literal["none", "time", "word", "line", "sentence"] = "time"
    window_ms: int = Field(default=20, ge=0, le=1000)


Loss = Literal["restart", "continue", "fail"]
"""What becomes of an answer that broke off: begun again, gone on with (where the model can), or given up."""


class CancelAfter(_Model):
    """Cancel when nobody has watched for this many seconds, anywhere in the fleet."""

    cancel_after_s: float = Field(gt=0, le=MAX_DEADLINE_S)


class GenerationRequest(_Model):
    """The body of ``POST /v1/generations``. Raises ``pydantic.ValidationError`` naming the field at fault."""

    model: str = Field(min_length=1, max_length=256, description="provider/name, or a bare name that is routed")
    messages: list[Message] | None = Field(default=None, min_length=1, max_length=10_000)
    input: str | None = Field(default=None, min_length=1, description="Short for one user message")
    instructions: str | None = None
    max_output_tokens: int | None = Field(default=None, ge=1, le=10_000_000)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    stop: str | list[str] | None = None
    tools: list[Tool] | None = Field(default=None, max_length=512)
    tool_choice: Literal["auto", "none", "required"] | NamedToolChoice | None = None
    parallel_tool_calls: bool | None = Field(default=None, description="Whether one answer may call several tools")
    response_format: dict[str, Any] | None = None
    reasoning: Reasoning | None = None
    metadata: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]] | None = Field(
        default=None, max_length=16
    )
    delivery: Delivery = Delivery()
    retention_s: int | None = Field(default=None, ge=1, le=MAX_RETENTION_S)
    deadline_s: float = Field(default=DEFAULT_DEADLINE_S, gt=0, le=MAX_DEADLINE_S)
    on_worker_loss: Loss = "restart"
    on_provider_loss: Loss = "fail"
    on_disconnect: Literal["continue"] | CancelAfter = "continue"
    provider_options: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_prompt(self) -> Self:
        if (self.messages is None) == (self.input is None):
            raise ValueError("give either messages or input")
        return self

    def conversation(self) -> list[Message]:
        """The messages, ``input`` read as one user message."""
        if self.messages is not None:
            return self.messages
        return [Message(role="user", content=self.input)]

    def stops(self) -> list[str]:
        """The stop sequences as a list."""
        if self.stop is None:
            return []
        return [self.stop] if isinstance(self.stop, str) else self.stop


Dialect = Literal["openai.chat", "openai.responses", "anthropic", "ai-sdk"]


class Wire(_Model):
    """In whose dialect it was asked, and what of it has no place elsewhere: what the answer has to repeat, mostly."""

    dialect: Dialect
    echo: dict[str, Any] = {}
    target: str | None = Field(default=None, description="Whom to ask, where that is not simply the model")


class StoredRequest(GenerationRequest):
    """A request as it is kept: what a client may say, and what we note beside it."""

    wire: Wire | None = None
