"""OpenAI's Chat Completions stream through the contract of formats."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tests.contracts.formats import FormatContract, FormatStage, Served, Told
from tests.contracts.stage import Said
from tests.support.whatwg import EventSourceParser

DONE = "[DONE]"
FIELDS = {"content", "refusal", "reasoning_content", "tool_calls"}


class ChatStage(FormatStage):
    """A client of chat completions: it reads ``data:`` and nothing else, but remembers ids."""

    name = "openai.chat"
    says_restart = False

    def read(self, chunks: Iterable[bytes]) -> list[Told]:
        """One chunk each, and the end mark."""
        parser = EventSourceParser()
        told: list[Told] = []
        last = ""
        for chunk in chunks:
            for event in parser.feed(chunk):
                assert event.type == "message"
                fresh = event.last_event_id != last
                last = event.last_event_id
                value = DONE if event.data == DONE else json.loads(event.data)
                told.append(Told(last if fresh else None, value, wire=not fresh))
        assert (parser.ignored, parser.empty_blocks, parser.pending) == ([], 0, False)
        return told

    def answer(self, told: Iterable[Told]) -> tuple[Any, ...]:
        """The message, and the calls by their index."""
        said = dict.fromkeys(("content", "refusal", "reasoning_content"), "")
        calls: list[list[str]] = []
        for one in told:
            for field, piece in delta(one).items():
                if field in said:
                    said[field] += piece
            for call in delta(one).get("tool_calls", []):
                if call["index"] == len(calls):
                    calls.append([call["id"], call["function"]["name"], ""])
                calls[call["index"]][2] += call["function"]["arguments"]
        return (*said.values(), calls)

    def expected(self, whole: Said) -> tuple[Any, ...]:
        """No signatures, and nothing that only its provider can read."""
        return whole.text, whole.refusal, whole.reasoning, [list(tool[:3]) for tool in whole.tools]

    def ends(self, told: Told) -> bool:
        """Also after an error."""
        return told.value == DONE

    def holds(self, first: Served) -> bool:
        """Anything but the opening chunk, which has a role."""
        return any("role" not in delta(one) and delta(one).keys() & FIELDS for one in self.read([first.body]))


def delta(told: Told) -> dict[str, Any]:
    """What a chunk adds; nothing in one without a choice."""
    choices: list[Any] = [] if told.value == DONE else told.value.get("choices", [])
    return choices[0]["delta"] if choices else {}


class TestChat(FormatContract):
    """``?format=openai.chat``."""

    stage = ChatStage()
