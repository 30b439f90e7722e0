"""Small values that others build on: requests, routes, records, log lines."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from broker import logs
from broker.errors import UnknownModel
from broker.record import Record, created_record
from broker.request import GenerationRequest, Message
from broker.routing import Router
from broker.settings import Settings

CALL = {"id": "c", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ({"role": "tool", "content": "x"}, "needs tool_call_id"),
        ({"role": "user", "content": "x", "tool_calls": [CALL]}, "only an assistant message"),
        ({"role": "assistant"}, "needs content"),
        ({"role": "assistant", "tool_calls": []}, "needs content"),
    ],
)
def test_a_message_that_says_nothing_or_too_much_is_refused(message: dict[str, Any], problem: str) -> None:
    """With the reason."""
    with pytest.raises(ValidationError, match=problem):
        Message.model_validate(message)


def test_messages_are_taken_as_they_come() -> None:
    """An assistant's tool calls need no text, and a tool's result names its call."""
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [CALL]},
        {"role": "tool", "content": "42", "tool_call_id": "c"},
    ]
    request = GenerationRequest.model_validate({"model": "demo/demo-1", "messages": turns})
    assert [message.role for message in request.conversation()] == ["user", "assistant", "tool"]
    assert request.conversation() == request.messages


def test_an_input_is_one_message_of_the_user() -> None:
    """One of both, and only one."""
    request = GenerationRequest(model="demo/demo-1", input="x")
    assert request.conversation() == [Message(role="user", content="x")]
    for wrong in ({}, {"input": "x", "messages": [{"role": "user", "content": "x"}]}):
        with pytest.raises(ValidationError, match="either messages or input"):
            GenerationRequest.model_validate({"model": "m", **wrong})


@pytest.mark.parametrize(("stop", "stops"), [(None, []), ("a", ["a"]), (["a", "b"], ["a", "b"])])
def test_stops_are_a_list(stop: Any, stops: list[str]) -> None:
    """None, one or several."""
    assert GenerationRequest(model="m", input="x", stop=stop).stops() == stops


def test_routes() -> None:
    """By the provider's name, by the first glob that fits, or not at all."""
    router = Router(Settings())
    assert router.resolve("openai/gpt-9/x") == ("openai", "gpt-9/x")
    assert router.resolve("claude-x") == ("anthropic", "claude-x")
    for model in ("nobody/x", "llama", "openai/", "demo/other"):
        with pytest.raises(UnknownModel):
            router.resolve(model)
    assert router.known_models() == ["demo/demo-1"]


def test_what_a_provider_speaks(tmp_path: Path) -> None:
    """By its name, or by the kind that the file gives it, which wins."""
    names = ("demo", "openai", "openai-responses", "anthropic")
    spoken = ["demo", "openai.chat", "openai.responses", "anthropic"]
    assert [Router(Settings()).vendor(name) for name in names] == spoken
    path = tmp_path / "rejoinder.toml"
    path.write_text(
        '[providers.vllm]\nbase_url = "http://h/v1"\n'
        '[providers.azure]\nkind = "openai-responses"\nbase_url = "http://h/v1"\n'
        '[providers.openai]\nbase_url = "http://h/v1"\n'
    )
    router = Router(Settings(config=path))
    assert [router.vendor(name) for name in ("vllm", "azure", "openai")] == [
        "compatible",
        "openai.responses",
        "compatible",
    ]


def test_a_record_is_the_same_in_both_forms() -> None:
    """As JSON and as plain values; the first record has all its fields."""
    record = created_record("gen_x", "demo/demo-1", 1_700_000_000_123, {"a": "b"})
    assert json.loads(record.to_json()) == record.to_dict()
    assert msgspec.json.decode(record.to_json(), type=Record) == record
    assert (record.to_dict()["created_at"], record.ended) == (1_700_000_000.123, False)


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    """The root logger, put back afterwards."""
    root, uvicorn = logging.getLogger(), logging.getLogger("uvicorn")
    levels = root.level, uvicorn.level
    with monkeypatch.context() as patch:
        patch.setattr(root, "handlers", [])
        yield root
    root.setLevel(levels[0])
    uvicorn.setLevel(levels[1])


def test_log_lines_are_json_where_that_is_wanted(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    """One object a line, the traceback inside it; what is below the level is left out."""
    logs.configure(Settings(log_format="json", log_level="warning"))
    log = logging.getLogger("rejoinder.test")
    log.info("quiet")
    try:
        int("a\nb")
    except ValueError:
        log.exception("it %s\nbadly", "went")
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert (told["level"], told["logger"], told["message"]) == ("error", "rejoinder.test", "it went\nbadly")
    assert "ValueError: invalid literal" in told["exception"]
    log.warning("plain")
    assert "exception" not in json.loads(capsys.readouterr().err)
    assert logging.getLogger("uvicorn").level == logging.WARNING


def test_log_lines_are_text_otherwise(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    """Level, logger and message."""
    logs.configure(Settings())
    logging.getLogger("rejoinder.test").info("hello")
    assert capsys.readouterr().err.endswith("INFO    rejoinder.test hello\n")
