"""Whatever is posted as a chat's messages: a request, or a fault that is named."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.dialects.ui import from_ui
from broker.errors import InvalidRequest
from tests.unit.test_from_ui import DATA_URL, STEP, says, told

words = [
    *("text", "reasoning", "file", "tool-x", "dynamic-tool", "step-start", "data-x", "steering-message", "user", ""),
    *("assistant", "system", "output-available", "output-error", "input-available", "image/png", DATA_URL),
]
names = [
    *("type", "text", "role", "parts", "state", "input", "output", "errorText", "toolCallId", "toolName", "url"),
    *("mediaType", "providerMetadata", "approval", "id"),
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(words) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(names), inner, max_size=6),
    max_leaves=12,
)
parts = st.fixed_dictionaries(
    {"type": st.sampled_from(words)},
    optional={name: st.sampled_from(words) | json_values for name in names if name != "type"},
)
messages = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]), "parts": st.lists(parts)})
FIELDS = ["id", "trigger", "messageId", "model", "tools", "toolChoice", "stop", "metadata", "reasoning", "delivery"]
bodies = st.fixed_dictionaries(
    {"messages": st.lists(messages, max_size=3) | json_values},
    optional=dict.fromkeys(FIELDS, json_values),
)


@settings(max_examples=60, deadline=None)
@given(bodies)
def test_any_json_is_a_request_or_a_named_fault(body: dict[str, Any]) -> None:
    """And a request is one that can be kept."""
    try:
        request = from_ui(body, model="demo/demo-1").request
    except InvalidRequest as error:
        assert error.field
    else:
        type(request).model_validate_json(request.model_dump_json(exclude_unset=True))


objects = st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=3)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.text("abc", min_size=1), objects, json_values.filter(bool), st.booleans()), max_size=4))
def test_calls_and_results_come_through_whole(calls: list[tuple[str, dict[str, Any], Any, bool]]) -> None:
    """Each call in its order, each result behind the calls of its step."""
    made: list[Any] = []
    for n, (name, value, output, steps) in enumerate(calls):
        made += [STEP] if steps else []
        part = {"type": f"tool-{name}", "toolCallId": f"c{n}", "state": "output-available", "input": value}
        made.append({**part, "output": repr(output)})
    got = told(says("user", "Hi"), says("assistant", *made))[1:]
    told_calls = [one for message in got for one in message.get("tool_calls", [])]
    assert [(c["id"], c["function"]["name"], json.loads(c["function"]["arguments"])) for c in told_calls] == [
        (f"c{n}", name, value) for n, (name, value, _, _) in enumerate(calls)
    ]
    results = [(one["tool_call_id"], one["content"]) for one in got if one["role"] == "tool"]
    assert results == [(f"c{n}", repr(output)) for n, (_, _, output, _) in enumerate(calls)]
    open_calls: list[str] = []
    for message in got:
        if message["role"] == "tool":
            assert open_calls.pop(0) == message["tool_call_id"]
        else:
            assert open_calls == []
            open_calls = [one["id"] for one in message["tool_calls"]]
