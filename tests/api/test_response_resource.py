"""The Response resource: every field at any moment, what was asked repeated, and counts that add up."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from openai.types.responses import Response
from openai.types.responses.response_error import ResponseError

from api.formats.response_resource import error_body, response_resource, usage_body
from broker.content import Block
from broker.events import Cancelled, Completed, Entry, Failed
from broker.request import (
    Function,
    NamedFunction,
    NamedToolChoice,
    Reasoning,
    StoredRequest,
    Tool,
    Wire,
)
from broker.submission import Submission
from broker.values import ErrorInfo, Timing, Usage
from tests.api.responses_wire import SUBMISSION, asked, known
from tests.contracts.formats import effort
from tests.contracts.histories import EPOCH, GENERATION, logs

FIELDS = {
    "id",
    "object",
    "created_at",
    "completed_at",
    "status",
    "incomplete_details",
    "model",
    "previous_response_id",
    "instructions",
    "output",
    "error",
    "tools",
    "tool_choice",
    "truncation",
    "parallel_tool_calls",
    "text",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "top_logprobs",
    "temperature",
    "reasoning",
    "usage",
    "max_output_tokens",
    "max_tool_calls",
    "store",
    "background",
    "service_tier",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
}
"""wires.md, "The full Response resource"."""
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}
WHOLE_TOOL = {**TOOL, "description": None, "strict": None}


@effort
@given(logs)
def test_every_field_is_there_at_any_moment(log: list[Entry]) -> None:
    """And the SDK's own model takes it, types and all."""
    for submission in (SUBMISSION, asked(background=True, tools=[TOOL])):
        for at in range(1, len(log) + 1):
            resource = response_resource(submission, **known(log[:at]))
            assert set(resource) == FIELDS
            parsed = Response.model_validate(resource, strict=True)
            assert parsed.to_dict(exclude_unset=True, exclude_none=False) == resource


def test_what_was_asked_in_this_dialect_is_repeated() -> None:
    """Under the same names; parts of a field that were not asked are filled in."""
    said: dict[str, Any] = {
        "instructions": "Be brief.",
        "tool_choice": {"type": "function", "name": "f"},
        "truncation": "auto",
        "parallel_tool_calls": False,
        "top_p": 0.5,
        "presence_penalty": 0.25,
        "frequency_penalty": 0.5,
        "top_logprobs": 2,
        "temperature": 0.0,
        "max_output_tokens": 9,
        "max_tool_calls": 3,
        "store": False,
        "background": True,
        "service_tier": "flex",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "previous_response_id": "resp_0",
        "user": "u",
    }
    resource = response_resource(
        asked(**said, tools=[TOOL, {"type": "web_search"}], text={"verbosity": "low"}, reasoning={"effort": "low"})
    )
    assert {name: resource[name] for name in said} == said
    assert resource["tools"] == [WHOLE_TOOL, {"type": "web_search"}]
    assert resource["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    assert resource["reasoning"] == {"effort": "low", "summary": None}


def test_what_was_asked_as_null_is_what_was_not_asked() -> None:
    """SDKs send null where a caller gave None."""
    nothing = response_resource(asked())
    nulls = dict.fromkeys(FIELDS - {"id", "object", "model", "metadata"})
    assert response_resource(asked(**nulls, user=None)) == nothing
    assert response_resource(asked(text={"format": None}, reasoning={"effort": None})) == nothing


def test_what_was_asked_in_another_dialect_is_told_in_this_one() -> None:
    """From the canonical request; another dialect's own words are not taken for ours."""
    schema: dict[str, Any] = {"name": "n", "schema": {"type": "object"}, "strict": True}
    request = StoredRequest(
        model="m1",
        input="hi",
        instructions="Be brief.",
        max_output_tokens=5,
        temperature=0.0,
        top_p=0.5,
        tools=[Tool(type="function", function=Function(name="f", parameters={"type": "object"}))],
        tool_choice=NamedToolChoice(type="function", function=NamedFunction(name="f")),
        response_format={"type": "json_schema", "json_schema": schema},
        reasoning=Reasoning(effort="high"),
        wire=Wire(dialect="openai.chat", echo={"instructions": "foreign", "background": True}),
    )
    resource = response_resource(Submission(GENERATION, "m1", EPOCH / 1000, {"k": "v"}, request))
    names = ("instructions", "max_output_tokens", "temperature", "top_p", "background", "metadata", "tools")
    assert [resource[name] for name in names] == ["Be brief.", 5, 0.0, 0.5, False, {"k": "v"}, [WHOLE_TOOL]]
    assert resource["tool_choice"] == {"type": "function", "name": "f"}
    assert resource["text"] == {"format": {"type": "json_schema", **schema}}
    assert resource["reasoning"] == {"effort": "high", "summary": None}
    assert Response.model_validate(resource, strict=True).id == resource["id"]


def test_other_ways_to_ask_for_a_choice_and_a_format() -> None:
    """Words stand as they are."""
    request = StoredRequest(model="m", input="x", tool_choice="required", response_format={"type": "json_object"})
    resource = response_resource(Submission(GENERATION, "m1", 1.0, request=request))
    assert (resource["tool_choice"], resource["text"]) == ("required", {"format": {"type": "json_object"}})


@pytest.mark.parametrize(
    ("background", "status", "terminal", "expected"),
    [
        (True, "queued", None, "queued"),
        (False, "queued", None, "in_progress"),
        (True, "running", None, "in_progress"),
        (True, "running", Completed("tool_calls"), "completed"),
        (True, "running", Completed("length"), "incomplete"),
        (True, "queued", Cancelled("unwatched"), "cancelled"),
        (True, "queued", Failed(ErrorInfo("internal_error", "x")), "failed"),
    ],
)
def test_status(background: bool, status: Any, terminal: Any, expected: str) -> None:
    """Only who comes back for it is told that it waits: others have a stream that runs."""
    resource = response_resource(asked(background=background), status=status, terminal=terminal)
    assert resource["status"] == expected
    assert resource["incomplete_details"] == ({"reason": "max_output_tokens"} if expected == "incomplete" else None)


def test_when_it_was_completed() -> None:
    """Creation and duration; nothing that was not completed has such a time."""
    timing = Timing(duration_ms=2600)
    for terminal, completed_at in (
        (Completed("stop", timing=timing), 1_700_000_003),
        (Completed("stop"), None),
        (Completed("length", timing=timing), None),
        (Cancelled("client", timing=timing), None),
        (None, None),
    ):
        submission = Submission(GENERATION, "m1", 1_700_000_000.5)
        resource = response_resource(submission, terminal=terminal)
        assert (resource["created_at"], resource["completed_at"]) == (1_700_000_000, completed_at)


def test_the_whole_input_is_counted() -> None:
    """Anthropic reports what its cache read and wrote beside the input, OpenAI within it."""
    usage = Usage(10, 5, 100, 20, 3)
    within: dict[str, Any] = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 20},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 15,
    }
    assert usage_body(usage, "openai") == within
    assert usage_body(usage, "anthropic") == {**within, "input_tokens": 130, "total_tokens": 135}
    assert usage_body(None, "openai") is None
    unknown = usage_body(Usage(output_tokens=2), "anthropic")
    assert unknown is not None
    assert (unknown["input_tokens"], unknown["total_tokens"]) == (0, 2)


@pytest.mark.parametrize(
    ("code", "theirs"),
    [
        ("provider_rate_limited", "rate_limit_exceeded"),
        ("content_rejected", "invalid_prompt"),
        ("provider_rejected", "invalid_prompt"),
        ("prefill_refused", "invalid_prompt"),
        ("provider_overloaded", "server_error"),
        ("worker_lost", "server_error"),
    ],
)
def test_errors_are_of_openai_s_list(code: str, theirs: str) -> None:
    """Its model knows no others."""
    assert error_body(ErrorInfo(code, "m")) == {"code": theirs, "message": "m"}
    assert theirs in get_args(ResponseError.model_fields["code"].annotation)


def test_a_prompt_that_is_too_long_is_told_as_openai_tells_it() -> None:
    """Its API says so although its model does not: agents look for this word, to make their history shorter."""
    assert error_body(ErrorInfo("context_length_exceeded", "m"))["code"] == "context_length_exceeded"


def test_a_refusal_is_whole_where_it_has_words() -> None:
    """Anthropic stops in the middle of a text: that must not look like all of it, as in chat completions."""
    half, refused = Block("text", "First, take"), Block("refusal", "No.")
    resources = [response_resource(SUBMISSION, [block], terminal=Completed("refusal")) for block in (half, refused)]
    assert [resource["status"] for resource in resources] == ["incomplete", "completed"]
    assert [resource["incomplete_details"] for resource in resources] == [{"reason": "content_filter"}, None]


def test_an_attempt_that_goes_on_keeps_the_ids() -> None:
    """They are made of the attempt that began the answer, and differ from any other attempt's."""
    blocks = [Block("reasoning", "r"), Block("text", "t"), Block("refusal", "no"), Block("tool_call", "{}", name="f")]
    for attempt in (1, 2):
        ids = [item["id"] for item in response_resource(SUBMISSION, blocks, attempt=attempt)["output"]]
        rest = GENERATION.removeprefix("gen_")
        assert ids == [f"{kind}_{rest}_{attempt}_{n}" for n, kind in enumerate(["rs", "msg", "msg", "fc"])]
