"""The events' two forms."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from broker.events import (
    EVENT_TYPES,
    Created,
    Event,
    TextDelta,
    ToolCallDelta,
    created_head,
    decode_entry,
    encode_entry,
    event_from_json,
    event_to_json,
    event_type,
)
from tests.unit.strategies import events


@given(events)
def test_json_round_trips(event: Event) -> None:
    """What is written on the wire is read back as it was, on one line, with its type."""
    data = event_to_json(event)
    assert event_from_json(data) == event
    assert b"\n" not in data
    assert json.loads(data)["type"] == event_type(event)


@given(events)
def test_compact_entries_round_trip(event: Event) -> None:
    """What the log keeps is read back as it was."""
    assert decode_entry(*encode_entry(event)) == event


def test_bare_text_is_what_a_token_costs() -> None:
    """A plain delta is two characters of field and its text: no JSON in the log."""
    assert encode_entry(TextDelta(0, "word")) == (b"t0", b"word")


def test_a_call_id_with_a_newline_keeps_its_fragment() -> None:
    """The separator of the compact form may stand in an id: then the entry is JSON."""
    event = ToolCallDelta(1, "a\nb", "{")
    assert encode_entry(event)[0] == b"j"
    assert decode_entry(*encode_entry(event)) == event


def test_the_first_entry_is_completed_by_the_script() -> None:
    """The script adds the time of creation; the record in the event is whole."""
    event = decode_entry(b"c", created_head("gen_1", "demo/demo-1", {"k": "v"}) + b"1795000000123}")
    assert isinstance(event, Created)
    record = event.generation
    assert (record["id"], record["status"], record["created_at"]) == ("gen_1", "queued", 1795000000.123)
    assert record["last_event_id"] == "1795000000123-1"
    assert record["metadata"] == {"k": "v"}


@pytest.mark.parametrize("field", [b"x0", b"", b"zz"])
def test_an_unknown_field_is_refused(field: bytes) -> None:
    """A log of a later version is not misread."""
    with pytest.raises(ValueError, match="unknown entry field"):
        decode_entry(field, b"text")


def test_types_are_the_contracts() -> None:
    """The names clients rely on."""
    assert {event_type(kind) for kind in EVENT_TYPES} == {
        "generation.created",
        "generation.started",
        "generation.retrying",
        "text.delta",
        "reasoning.delta",
        "refusal.delta",
        "tool_call.started",
        "tool_call.delta",
        "tool_call.completed",
        "generation.completed",
        "generation.failed",
        "generation.cancelled",
    }
