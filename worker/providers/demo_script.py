"""What the demo provider will say: ``provider_options`` and a request in, the whole answer out. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta

from broker.errors import ProviderError
from broker.events import (
    DELTA_TYPES,
    ContentEvent,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCallCompleted,
    ToolCallDelta,
    ToolCallStarted,
)
from broker.merge import delta_text
from broker.request import GenerationRequest, TextPart
from worker.providers.base import Finish
from worker.providers.demo_text import PROSE, REASONING, prose, split_tokens

Count: TypeAlias = Annotated[int, Meta(ge=0, le=100_000)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=86_400)]


class ToolScript(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The tool call to make."""

    name: Annotated[str, Meta(min_length=1)]
    arguments: dict[str, Any] = {}


class DemoOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``provider_options`` of the demo. A token is one delta, reasoning and fragments of arguments included.

    ``…_at`` count the tokens of the whole answer, also those of an earlier attempt; past its end they do nothing.
    """

    tokens: Count = 60
    """Tokens of text."""
    rate: Annotated[float, Meta(ge=0)] = 40.0
    """Tokens a second; 0 = as fast as they can be taken."""
    ttft_s: Seconds = 0.0
    """Delay of the first token."""
    seed: int | None = None
    """Picks the text; default: from the prompt, so that the same prompt gets the same answer."""
    text: str | None = None
    """Exactly this text instead."""
    reasoning: Count = 0
    """Tokens of reasoning before the text."""
    tool_call: ToolScript | bool = False
    """A tool call after the text; true: the request's first tool."""
    finish_reason: FinishReason | None = None
    """Overrides how the answer ends."""
    refuse: Count = 0
    """How many attempts are refused with a 429 before one is served; counted by this process."""
    refuse_key: str | None = None
    """What the refusals are counted under; default: the prompt and the seed."""
    retry_after_s: Seconds | None = None
    """What a refusal says about the next attempt."""
    fail_at: Count | None = None
    """After so many tokens, fail."""
    fail_code: str = "provider_error"
    fail_retryable: bool = False
    fail_status: int | None = None
    stall_at: Count | None = None
    """After so many tokens, say nothing more until cancelled."""
    truncate_at: Count | None = None
    """After so many tokens, end without an end mark."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole answer."""

    events: Iterator[ContentEvent]
    total: int
    """Tokens in ``events``."""
    reasoning: int
    """How many of them are reasoning: the first ones."""
    finish: Finish


def parse_options(request: GenerationRequest) -> DemoOptions:
    """Raises :class:`ProviderError` ``provider_rejected`` for an unknown option or a bad value."""
    try:
        return msgspec.convert(request.provider_options or {}, DemoOptions)
    except msgspec.ValidationError as error:
        raise ProviderError(f"provider_options: {error}", code="provider_rejected") from error


def seed_of(request: GenerationRequest, options: DemoOptions) -> int:
    """The seed asked for, or one made from the prompt."""
    if options.seed is not None:
        return options.seed
    turns = [message.model_dump_json() for message in request.conversation()]
    digest = blake2b("\n".join([request.instructions or "", *turns]).encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big")


def prompt_words(request: GenerationRequest) -> int:
    """What the demo bills as input tokens: the words of all text in the prompt."""
    count = len((request.instructions or "").split())
    for message in request.conversation():
        parts = (
            message.content
            if isinstance(message.content, list)
            else [TextPart(type="text", text=message.content or "")]
        )
        count += sum(len(part.text.split()) for part in parts if isinstance(part, TextPart))
    return count


def write_answer(request: GenerationRequest, options: DemoOptions) -> Answer:
    """The answer that an undisturbed call would give, with its end."""
    seed = seed_of(request, options)
    text, count, stop = _text(request, options, seed)
    tool = None if stop is not None else _tool(request, options)
    fragments = _fragments(tool.arguments) if tool else []
    total = options.reasoning + count + len(fragments)
    limit = request.max_output_tokens
    reason: FinishReason = "tool_calls" if tool else "stop"
    if limit is not None and limit < total:
        total, reason, stop = limit, "length", None
    reason = options.finish_reason or reason
    events = _events(prose(REASONING, seed, options.reasoning), text, tool, fragments, call_id=f"call_{seed:012x}")
    finish = Finish(reason=reason, provider_reason=reason, stop_sequence=stop)
    return Answer(_first_tokens(events, total), total, min(options.reasoning, total), finish)


def after_prefix(events: Iterable[ContentEvent], prefix: list[ContentEvent]) -> Iterator[tuple[int, ContentEvent]]:
    """What follows the prefix, each event with the number of tokens before it in the whole answer.

    A delta may be cut anywhere, also inside a token. Raises :class:`ProviderError` ``prefill_refused`` when the
    prefix is not the beginning of this answer.
    """
    written: dict[int, str] = {}
    marks = {(type(event), event.block) for event in prefix if not isinstance(event, DELTA_TYPES)}
    for event in prefix:
        if isinstance(event, DELTA_TYPES):
            written[event.block] = written.get(event.block, "") + delta_text(event)
    taken = dict.fromkeys(written, 0)
    index = 0
    for event in events:
        if not isinstance(event, DELTA_TYPES):
            if (type(event), event.block) not in marks:
                yield index, event
            continue
        text, start = delta_text(event), taken.get(event.block, 0)
        known = written.get(event.block, "")[start : start + len(text)]
        if not text.startswith(known):
            raise ProviderError("the prefix is not of this answer", code="prefill_refused")
        if known:
            taken[event.block] = start + len(known)
        if len(known) < len(text):
            yield index, _cut(event, text[len(known) :])
        index += 1
    if any(taken[block] < len(text) for block, text in written.items()):
        raise ProviderError("the prefix is longer than this answer", code="prefill_refused")


def _text(request: GenerationRequest, options: DemoOptions, seed: int) -> tuple[Iterable[str], int, str | None]:
    """The text's tokens, their count, and the stop sequence that ended them."""
    stops = [stop for stop in request.stops() if stop]
    if options.text is None and not stops:
        return prose(PROSE, seed, options.tokens), options.tokens, None
    text = options.text if options.text is not None else "".join(prose(PROSE, seed, options.tokens))
    hits = [(text.index(stop), stop) for stop in stops if stop in text]
    end, stop = min(hits) if hits else (len(text), None)
    tokens = split_tokens(text[:end])
    return tokens, len(tokens), stop


def _tool(request: GenerationRequest, options: DemoOptions) -> ToolScript | None:
    if not isinstance(options.tool_call, bool):
        return options.tool_call
    if not options.tool_call:
        return None
    name = request.tools[0].function.name if request.tools else "get_weather"
    return ToolScript(name=name, arguments={"city": "Besançon", "unit": "celsius"})


def _fragments(arguments: dict[str, Any]) -> list[str]:
    text = json.dumps(arguments, ensure_ascii=False)
    return [text[start : start + 5] for start in range(0, len(text), 5)]


def _events(
    thoughts: Iterable[str], text: Iterable[str], tool: ToolScript | None, fragments: list[str], *, call_id: str
) -> Iterator[ContentEvent]:
    block = 0
    for token in thoughts:
        yield ReasoningDelta(block=0, text=token)
        block = 1
    before_text = block
    for token in text:
        yield TextDelta(block=before_text, text=token)
        block = before_text + 1
    if tool is not None:
        yield ToolCallStarted(block=block, call_id=call_id, name=tool.name)
        for fragment in fragments:
            yield ToolCallDelta(block=block, call_id=call_id, arguments=fragment)
        yield ToolCallCompleted(block=block, call_id=call_id, name=tool.name, arguments="".join(fragments))


def _first_tokens(events: Iterator[ContentEvent], count: int) -> Iterator[ContentEvent]:
    """Everything up to the token after the last one allowed."""
    seen = 0
    for event in events:
        if isinstance(event, DELTA_TYPES):
            seen += 1
            if seen > count:
                return
        yield event


def _cut(event: ContentEvent, text: str) -> ContentEvent:
    match event:
        case ToolCallDelta():
            return ToolCallDelta(block=event.block, call_id=event.call_id, arguments=text)
        case ReasoningDelta():
            return ReasoningDelta(block=event.block, text=text)
        case _:
            return TextDelta(block=event.block, text=text)
