"""The values that events and records share."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "refusal"]
CancelReason: TypeAlias = Literal["client", "unwatched", "deadline", "deleted"]
Mode: TypeAlias = Literal["restart", "continue"]


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Token counts as the provider reported them; absent = the provider did not say."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    reasoning_tokens: int | None = None


def add_usage(one: Usage | None, other: Usage | None) -> Usage | None:
    """What two calls cost together; what neither of them reported stays absent."""
    if one is None or other is None:
        return one or other
    return Usage(*(_add(getattr(one, name), getattr(other, name)) for name in Usage.__struct_fields__))


def _add(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else one + other


class ErrorInfo(msgspec.Struct, frozen=True):
    """Why a generation failed, or why an attempt at the provider did."""

    code: str
    message: str
    retryable: bool = False
    provider_status: int | None = None


class Timing(msgspec.Struct, frozen=True):
    """Durations in ms by the clock of Redis, counted from submit; ``tokens_per_second`` from the first token."""

    queue_ms: int | None = None
    ttft_ms: int | None = None
    duration_ms: int | None = None
    tokens_per_second: float | None = None
