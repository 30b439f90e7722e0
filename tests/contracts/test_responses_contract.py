"""OpenAI's Responses stream through the contract of formats."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api.formats.openai_responses import ResponsesFold
from broker.events import Completed, Created, Started, TextDelta
from broker.position import Cursor
from broker.record import created_record
from tests.api.responses_wire import log_of
from tests.api.test_golden import EVENTS
from tests.contracts.formats import FormatContract, FormatStage, Served, Told
from tests.contracts.histories import EPOCH, GENERATION
from tests.contracts.stage import Said
from tests.support.whatwg import EventSourceParser

FILE = Path(__file__).resolve().parents[1] / "goldens" / "out_openai.responses.txt"
CREATED = Created(created_record(GENERATION, "demo/demo-1", EPOCH, {}).to_dict())
ENDS = ("response.completed", "response.incomplete", "response.failed")
LIFE = ("response.created", "response.queued", "response.in_progress", *ENDS)


class ResponsesStage(FormatStage):
    """A client that adds up deltas."""

    name = ResponsesFold.name
    says_restart = False

    def read(self, chunks: Iterable[bytes]) -> list[Told]:
        """As the HTML standard says: each frame is named by its type and has an id of its own."""
        parser = EventSourceParser()
        told: list[Told] = []
        last = ""
        for chunk in chunks:
            for event in parser.feed(chunk):
                value = json.loads(event.data)
                assert event.type == value["type"]
                fresh = event.last_event_id != last
                assert fresh or event.type == "error"
                last = event.last_event_id
                told.append(Told(last if fresh else None, value))
        assert (parser.ignored, parser.empty_blocks, parser.pending) == ([], 0, False)
        return told

    def answer(self, told: Iterable[Told]) -> Said:
        """Items by their index; what is finished counts as its last event says."""
        whole = Said()
        calls: dict[int, str] = {}
        for event in (one.value for one in told):
            kind, delta = event["type"].removeprefix("response."), event.get("delta", "")
            item: dict[str, Any] = event.get("item", {})
            assert kind != "error"
            whole.text += delta if kind == "output_text.delta" else ""
            whole.refusal += delta if kind == "refusal.delta" else ""
            whole.reasoning += delta if kind == "reasoning_summary_text.delta" else ""
            if kind == "output_item.added" and item["type"] == "function_call":
                calls[event["output_index"]] = item["call_id"]
                whole.calls[item["call_id"]] = (item["name"], item["arguments"], False)
            if kind.startswith("function_call_arguments"):
                name, arguments, _ = whole.calls[calls[event["output_index"]]]
                said = (name, event.get("arguments", arguments + delta), kind.endswith("done"))
                whole.calls[calls[event["output_index"]]] = said
            if kind == "output_item.done" and "encrypted_content" in item:
                _, _, part, sealed = item["encrypted_content"].split(".", 3)
                whole.signed.append((sealed, None) if part == "signature" else (None, sealed))
        return whole

    def expected(self, whole: Said) -> Said:
        """All of it but the number of the attempt."""
        whole.attempt = 0
        return whole

    def ends(self, told: Told) -> bool:
        """By the names of the API."""
        return told.value["type"] in ENDS

    def holds(self, first: Served) -> bool:
        """Any part of an item."""
        return any(told.value["type"] not in LIFE for told in self.read([first.body]))


class TestResponses(FormatContract):
    """``/v1/responses``."""

    stage = ResponsesStage()

    @pytest.mark.golden
    def test_the_bytes_are_what_they_were(self) -> None:
        """A change of a format is a change of a file that somebody reads."""
        events = [msgspec.structs.replace(e, merged=None) if isinstance(e, TextDelta) else e for e in EVENTS]
        fmt = self.stage.make()
        body = fmt.preamble(1000) + self.stage.serve(log_of(*events)).body + fmt.heartbeat
        if os.environ.get("REGOLD"):  # noqa: TID251 - the suite's own switch
            FILE.write_bytes(body)
        assert FILE.read_bytes() == body

    def test_whoever_is_cut_off_amid_a_void_attempt_is_told_and_broken_off(self) -> None:
        """Contract section 5: the error event stands in for a word that the API does not have."""
        log = log_of(
            CREATED,
            Started(1, "restart", "demo", "m"),
            TextDelta(0, "void"),
            TextDelta(0, "!"),
            Started(2, "restart", "demo", "m"),
            Completed("stop"),
        )
        for cursor, number in ((Cursor(log[2].position, 1), 5), (Cursor(log[2].position), 5), (log[3].position, 6)):
            served = self.stage.serve(log, cursor)
            [told] = self.told(served)
            assert (told.id, told.value["type"], told.value["sequence_number"]) == (None, "error", number)
            assert served.broken
        served = self.stage.serve(log, log[1].position)
        assert [told.value["sequence_number"] for told in self.told(served)] == [7]
