"""A body that is not as it should be is refused with the name of the field at fault, and by nothing else."""

from __future__ import annotations

import copy
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.dialects.check import check
from broker.dialects.hints import CHAT_RULES, MESSAGES_RULES, RESPONSES_RULES
from broker.dialects.vendors import ALL, Untranslatable, Vendor
from broker.errors import InvalidRequest
from broker.request import Dialect
from tests.dialects.talks import DIALECTS, body_in, talks
from tests.dialects.test_translation import read

_WORDS = sorted({
    *CHAT_RULES, *RESPONSES_RULES, *MESSAGES_RULES,
    *("rejoinder", "retention_s", "stop", "stop_sequences", "thinking", "output_config", "reasoning", "include"),
    *("text", "type", "role", "content", "image_url", "input_image", "tool_result", "item_reference", "function", "id"),
    *("assistant", "system", "tool", "url", "base64", "enabled", "budget_tokens", "effort", "high", "allowed_tools"),
    *("stream_options", "reasoning_effort", "strict", "store", "user", "metadata", "detail", "caller", "tools"),
})  # fmt: skip
words = st.sampled_from(_WORDS)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=5)
json_values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | st.text("ab", max_size=2), inner, max_size=4),
    max_leaves=12,
)
effort = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.differing_executors])


def exists_or_is_missing(body: Any, field: str) -> bool:
    """Whether a path leads to something in the body, or to where it ought to be."""
    steps = field.split(".")
    for at, step in enumerate(steps):
        if isinstance(body, list):
            body = cast("list[Any]", body)[int(step)]
        elif not isinstance(body, dict):
            return False
        elif step not in body:
            return at == len(steps) - 1
        else:
            body = cast("dict[str, Any]", body)[step]
    return True


def judge(dialect: Dialect, vendor: Vendor, body: dict[str, Any]) -> InvalidRequest | None:
    """Read and check a body; what is raised names its field."""
    before = copy.deepcopy(body)
    try:
        request = read(dialect, body, vendor).request
    except InvalidRequest as error:
        assert error.field is not None
        assert exists_or_is_missing(body, error.field), (error.field, body)
        return error
    finally:
        assert repr(body) == repr(before)
    try:
        check(request, vendor, "m")
    except Untranslatable as error:
        assert error.field
        return error
    return None


@st.composite
def spoilt(draw: st.DrawFn, dialect: Dialect) -> dict[str, Any]:
    """A good body, of which something was replaced, taken out or added."""
    body = body_in(dialect, draw(talks(thinks=dialect != "openai.chat")))
    at: Any = body
    for _ in range(draw(st.integers(0, 6))):
        inner: list[Any] = [value for value in _values(at) if isinstance(value, dict | list) and value]
        if not inner:
            break
        at = draw(st.sampled_from(inner))
    if isinstance(at, list):
        found = cast("list[Any]", at)
        found[draw(st.integers(0, len(found) - 1))] = draw(json_values)
        return body
    fields = cast("dict[str, Any]", at)
    match draw(st.integers(0, 2)):
        case 0:
            fields[draw(words)] = draw(json_values)
        case 1:
            fields[draw(st.sampled_from(sorted(fields)))] = draw(json_values)
        case _:
            del fields[draw(st.sampled_from(sorted(fields)))]
    return body


def _values(node: Any) -> list[Any]:
    return list(cast("dict[str, Any]", node).values() if isinstance(node, dict) else node)


@pytest.mark.parametrize("dialect", DIALECTS)
@effort
@given(data=st.data(), vendor=st.sampled_from(sorted(ALL)))
def test_a_spoilt_body_is_understood_or_refused_by_name(dialect: Dialect, vendor: Vendor, data: st.DataObject) -> None:
    """Nothing else is ever raised, and the body is left as it was."""
    judge(dialect, vendor, data.draw(spoilt(dialect)))


@pytest.mark.parametrize("dialect", DIALECTS)
@effort
@given(
    body=st.dictionaries(words | st.sampled_from(["model", "messages", "input", "max_tokens"]), json_values, max_size=5)
)
def test_any_json_is_understood_or_refused_by_name(dialect: Dialect, body: dict[str, Any]) -> None:
    """Likewise what was never a request."""
    judge(dialect, "openai.chat", body)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("vendor", sorted(ALL))
def test_a_misspelt_field_is_refused(dialect: Dialect, vendor: Vendor) -> None:
    """Wherever it stands; only a compatible server may know more fields of a body than we do."""
    body: dict[str, Any] = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x", "nmae": "y"}]}
    if dialect == "openai.responses":
        body = {"model": "m", "input": [{"role": "user", "content": "x", "nmae": "y"}]}
    where = "input" if dialect == "openai.responses" else "messages"
    error = judge(dialect, vendor, body)
    assert error is not None
    assert error.field == f"{where}.0.nmae"
    del body[where][0]["nmae"]
    assert judge(dialect, vendor, body) is None
    error = judge(dialect, vendor, body | {"temprature": 1})
    if vendor == "compatible":
        assert error is None
        assert read(dialect, body | {"temprature": 1}, vendor).request.provider_options == {"temprature": 1}
    else:
        assert error is not None
        assert error.field == "temprature"


@pytest.mark.parametrize(
    ("dialect", "field"), [("openai.responses", "n"), ("openai.responses", "messages"), ("anthropic", "n")]
)
def test_what_the_adapter_sets_itself_is_refused_by_the_clients_own_name(dialect: Dialect, field: str) -> None:
    """Also where a compatible server gets all other fields that we do not know."""
    body: dict[str, Any] = {"model": "m", "input": "x"}
    if dialect == "anthropic":
        body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}
    error = judge(dialect, "compatible", body | {field: 1})
    assert error is not None
    assert error.field == field
