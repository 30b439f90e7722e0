"""Anthropic's Messages stream through the contract of formats."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tests.contracts.formats import FormatContract, FormatStage, Served, Told
from tests.contracts.stage import Said
from tests.support.whatwg import EventSourceParser

GROWS = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature", "input_json_delta": "json"}


class AnthropicStage(FormatStage):
    """A client of messages: it drops frames whose event does not name their type, and remembers ids."""

    name = "anthropic"
    says_restart = False

    def read(self, chunks: Iterable[bytes]) -> list[Told]:
        """One event each."""
        parser = EventSourceParser()
        told: list[Told] = []
        last = ""
        for chunk in chunks:
            for event in parser.feed(chunk):
                value = json.loads(event.data)
                assert event.type == value["type"]
                fresh = event.last_event_id != last
                last = event.last_event_id
                told.append(Told(last if fresh else None, value, wire=not fresh))
        assert (parser.ignored, parser.empty_blocks, parser.pending) == ([], 0, False)
        return told

    def answer(self, told: Iterable[Told]) -> tuple[Any, ...]:
        """All blocks of a kind together: prose, tool calls, and what is sealed, in its order."""
        content: list[dict[str, Any]] = []
        for event in (one.value for one in told):
            if event["type"] == "content_block_start":
                assert event["index"] == len(content)
                content.append({"json": "", **event["content_block"]})
            elif event["type"] == "content_block_delta":
                kind, piece = event["delta"].values()
                content[event["index"]][GROWS[kind]] += piece
        calls = [(block["id"], block["name"], block["json"]) for block in content if block["type"] == "tool_use"]
        sealed = [block.get("signature") or block.get("data") for block in content]
        words = sorted("".join(block["text"] for block in content if block["type"] == "text"))
        thought = "".join(block["thinking"] for block in content if block["type"] == "thinking")
        return words, thought, calls, [one for one in sealed if one]

    def expected(self, whole: Said) -> tuple[Any, ...]:
        """A refusal is told as text; ``tests/api/test_anthropic_wire.py`` looks at the order of such blocks."""
        sealed = [
            f"rj1.demo.signature.{signature}" if opaque is None else f"rj1.demo.opaque.{opaque}"
            for signature, opaque in whole.signed
        ]
        return sorted(whole.text + whole.refusal), whole.reasoning, [tool[:3] for tool in whole.tools], sealed

    def ends(self, told: Told) -> bool:
        """An error is an end too."""
        return told.value["type"] in ("message_stop", "error")

    def holds(self, first: Served) -> bool:
        """Any block."""
        return any(one.value["type"] == "content_block_start" for one in self.read([first.body]))


class TestAnthropic(FormatContract):
    """``?format=anthropic``."""

    stage = AnthropicStage()
