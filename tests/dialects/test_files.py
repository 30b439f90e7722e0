"""Files in any dialect, as any provider is told of them."""

from __future__ import annotations

from typing import Any

import pytest

from broker.dialects.check import check
from broker.dialects.files import text_url
from broker.dialects.vendors import Untranslatable, Vendor
from broker.errors import InvalidRequest
from broker.request import Dialect, GenerationRequest
from tests.dialects.talks import DIALECTS, VENDORS
from tests.dialects.test_translation import read, write

DATA = "data:application/pdf;base64,JVBERg=="
URL = "https://h.example/a.pdf"
PDF: dict[Dialect, dict[str, Any]] = {
    "openai.chat": {"type": "file", "file": {"filename": "a.pdf", "file_data": DATA}},
    "openai.responses": {"type": "input_file", "filename": "a.pdf", "file_data": DATA},
    "anthropic": {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="},
        "title": "a.pdf",
    },
}
SPOKEN: dict[Vendor, Dialect] = {
    "openai.chat": "openai.chat",
    "compatible": "openai.chat",
    "openai.responses": "openai.responses",
    "anthropic": "anthropic",
}


def body(dialect: Dialect, *parts: dict[str, Any]) -> dict[str, Any]:
    """A request whose user shows these."""
    said: dict[str, Any] = {"role": "user", "content": list(parts)}
    if dialect == "openai.responses":
        return {"model": "m", "input": [said]}
    return {"model": "m", "messages": [said]} | ({"max_tokens": 9} if dialect == "anthropic" else {})


def told(dialect: Dialect, vendor: Vendor, *parts: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts that the provider is told."""
    made = write(vendor, read(dialect, body(dialect, *parts), vendor).request)
    (message,) = made["input"] if vendor == "openai.responses" else made["messages"]
    return message["content"]


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_pdf_is_read_by_everybody(dialect: Dialect, vendor: Vendor) -> None:
    """With its name, in the words of whoever is asked."""
    assert told(dialect, vendor, PDF[dialect]) == [PDF[SPOKEN[vendor]]]


def test_a_file_without_a_name_gets_one_where_it_needs_one() -> None:
    """OpenAI refuses a file's data without."""
    nameless = {name: value for name, value in PDF["anthropic"].items() if name != "title"}
    assert told("anthropic", "openai.chat", nameless)[0]["file"]["filename"] == "file.pdf"
    assert told("anthropic", "anthropic", nameless) == [nameless]


def test_a_file_by_url_or_id() -> None:
    """A URL for whoever fetches it, an id for whoever gave it."""
    by_url = {"type": "document", "source": {"type": "url", "url": URL}}
    assert told("anthropic", "anthropic", by_url) == [by_url]
    assert told("anthropic", "openai.responses", by_url) == [{"type": "input_file", "file_url": URL}]
    by_id = {"type": "document", "source": {"type": "file", "file_id": "f"}, "context": "old"}
    assert told("anthropic", "anthropic", {**by_id, "cache_control": {"type": "ephemeral"}}) == [
        {**by_id, "cache_control": {"type": "ephemeral"}}
    ]
    assert told("openai.chat", "openai.responses", {"type": "file", "file": {"file_id": "f"}}) == [
        {"type": "input_file", "file_id": "f"}
    ]


def test_a_plain_text_is_a_document_to_anthropic_only() -> None:
    """Byte for byte; to the others it is a text."""
    text = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "é\n\U0001f98a"}}
    assert told("anthropic", "anthropic", text) == [text]
    assert told("anthropic", "openai.chat", text, {"type": "text", "text": "?"})[0] == {
        "type": "text",
        "text": "é\n\U0001f98a",
    }
    request = read("anthropic", body("anthropic", {**text, "title": "t"}), "openai.chat")
    assert request.ignored == ("messages.content.title",)


def test_a_tool_may_give_a_file() -> None:
    """Where results may be more than text."""
    result = {"type": "tool_result", "tool_use_id": "c", "content": [PDF["anthropic"]]}
    vendors: tuple[Vendor, ...] = ("anthropic", "openai.responses")
    for vendor in vendors:
        request = read("anthropic", body("anthropic", result), vendor).request
        assert str(PDF[SPOKEN[vendor]]) in str(write(vendor, request))
    with pytest.raises(InvalidRequest) as caught:
        read("anthropic", body("anthropic", result), "openai.chat")
    assert caught.value.field == "messages.0.content.0.content.0"


def source(**fields: Any) -> dict[str, Any]:
    """A document from there."""
    return {"type": "document", "source": fields}


REFUSED: list[tuple[Dialect, Vendor, dict[str, Any], str]] = [
    ("anthropic", "openai.chat", source(type="url", url=URL), "source.url"),
    ("anthropic", "openai.responses", source(type="file", file_id="f"), "source.file_id"),
    ("anthropic", "anthropic", source(type="url", url="http://h/a"), "source.url"),
    ("anthropic", "anthropic", source(type="base64", media_type="application/zip", data="UEs="), "source.data"),
    ("anthropic", "anthropic", source(type="content", content=[]), "source.type"),
    ("anthropic", "anthropic", source(type="text", media_type="text/html", data="x"), "source.media_type"),
    ("anthropic", "anthropic", {**PDF["anthropic"], "citations": {"enabled": True}}, "citations"),
    ("anthropic", "openai.chat", {**PDF["anthropic"], "context": "x"}, "context"),
    ("anthropic", "openai.chat", {**PDF["anthropic"], "pages": 1}, "pages"),
    ("openai.chat", "anthropic", {"type": "file", "file": {"file_id": "f"}}, "file.file_id"),
    ("openai.chat", "anthropic", {"type": "file", "file": {"file_data": "JVBERg=="}}, "file.file_data"),
    ("openai.chat", "openai.chat", {"type": "file", "file": {"file_data": DATA, "file_id": "f"}}, "file"),
    ("openai.responses", "openai.chat", {"type": "input_file", "file_url": URL}, "file_url"),
    ("openai.responses", "openai.responses", {"type": "input_file"}, ""),
]


@pytest.mark.parametrize(("dialect", "vendor", "part", "field"), REFUSED)
def test_what_cannot_be_shown_is_named(dialect: Dialect, vendor: Vendor, part: dict[str, Any], field: str) -> None:
    """By its path in the client's own body."""
    with pytest.raises(InvalidRequest) as caught:
        read(dialect, body(dialect, part), vendor)
    where = "input.0.content.0" if dialect == "openai.responses" else "messages.0.content.0"
    assert caught.value.field == (f"{where}.{field}" if field else where)


NATIVE: list[tuple[Vendor, dict[str, Any], str]] = [
    ("openai.chat", {"file_url": URL}, "messages.0.content.0.file.file_url"),
    ("openai.responses", {"file_url": URL, "context": "x"}, "messages.0.content.0.file.context"),
    ("anthropic", {"file_data": "data:text/plain;base64,/w=="}, "messages.0.content.0.file"),
    ("anthropic", {"file_data": text_url("x").replace("plain", "html")}, "messages.0.content.0.file"),
]


@pytest.mark.parametrize(("vendor", "file", "field"), NATIVE)
def test_what_our_own_words_say_is_checked_at_the_door(vendor: Vendor, file: dict[str, Any], field: str) -> None:
    """As everything else is."""
    messages = [{"role": "user", "content": [{"type": "file", "file": file}]}]
    request = GenerationRequest.model_validate({"model": "x/m", "messages": messages})
    with pytest.raises(Untranslatable) as caught:
        check(request, vendor, "m")
    assert caught.value.field == field
