"""The formats that there are, each through the contract of formats."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable
from typing import Any

from hypothesis import given

from broker.events import Entry, TextDelta
from broker.lifecycle import advance
from broker.record import Status
from tests.contracts.formats import FormatContract, FormatStage, Told, effort
from tests.contracts.histories import logs, write
from tests.contracts.stage import Said
from tests.support.whatwg import EventSourceParser


@effort
@given(logs)
def test_the_histories_could_have_been_written(log: list[Entry]) -> None:
    """Dense, epochs never fall, and each step is one that the state table has."""
    status: Status | None = None
    for seq, entry in enumerate(log, 1):
        assert entry.position.seq == seq
        status = advance(status, entry.event)
    epochs = [entry.position.epoch for entry in log]
    assert epochs == sorted(epochs)


class EventsStage(FormatStage):
    """A client of the native events, as JSON."""

    def answer(self, told: Iterable[Told]) -> Said:
        """Folded from the JSON, without any of our types."""
        whole = Said()
        for event in (one.value for one in told):
            kind, text = event["type"], event.get("text", "")
            if kind == "stream.reset" or (kind == "generation.started" and event["mode"] == "restart"):
                whole = Said()
            if kind == "generation.started":
                whole.attempt = event["attempt"]
            whole.text += text if kind == "text.delta" else ""
            whole.refusal += text if kind == "refusal.delta" else ""
            if kind == "reasoning.delta":
                whole.reasoning += text
                signed = (event.get("signature"), event.get("opaque"))
                whole.signed += [signed] if signed != (None, None) else []
            if kind.startswith("tool_call."):
                self._call(whole, kind, event)
        return whole

    def _call(self, whole: Said, kind: str, event: dict[str, Any]) -> None:
        name, arguments, _ = whole.calls.get(event["call_id"], (event.get("name", ""), "", False))
        if kind == "tool_call.completed":
            json.loads(event["arguments"])
            whole.calls[event["call_id"]] = (event["name"], event["arguments"], True)
        else:
            whole.calls[event["call_id"]] = (name, arguments + event.get("arguments", ""), False)

    def expected(self, whole: Said) -> Said:
        """All of it."""
        return whole

    def ends(self, told: Told) -> bool:
        """By the names of the contract."""
        return told.value["type"] in ("generation.completed", "generation.failed", "generation.cancelled")


class NativeStage(EventsStage):
    """An EventSource."""

    name = "native"

    def read(self, chunks: Iterable[bytes]) -> list[Told]:
        """As the HTML standard says; an event without an id of its own repeats the one before."""
        parser = EventSourceParser()
        told: list[Told] = []
        last = ""
        for chunk in chunks:
            for event in parser.feed(chunk):
                value = json.loads(event.data)
                assert event.type == value["type"]
                fresh = event.last_event_id != last
                last = event.last_event_id
                told.append(Told(last if fresh else None, value, wire=event.type.startswith("stream.")))
        assert (parser.ignored, parser.empty_blocks, parser.pending) == ([], 0, False)
        return told


class NDJSONStage(EventsStage):
    """A reader of lines: a line ends at LF and nowhere else."""

    name = "ndjson"

    def read(self, chunks: Iterable[bytes]) -> list[Told]:
        """Heartbeats are lines that say so."""
        told: list[Told] = []
        rest = b""
        for chunk in chunks:
            *lines, rest = (rest + chunk).split(b"\n")
            for row in map(json.loads, lines):
                assert list(row) == ["id", "event"]
                wire = row["event"]["type"].startswith("stream.")
                assert wire == (row["id"] is None)
                if row["event"]["type"] != "stream.heartbeat":
                    told.append(Told(row["id"], row["event"], wire=wire))
        assert rest == b""
        return told


class TextStage(FormatStage):
    """A reader of characters."""

    name = "text"
    has_ids = False
    says_restart = False

    def read(self, chunks: Iterable[bytes]) -> list[Told]:
        """Each by itself."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        characters = "".join(decoder.decode(chunk) for chunk in chunks) + decoder.decode(b"", final=True)
        return [Told(None, character) for character in characters]

    def answer(self, told: Iterable[Told]) -> str:
        """Nothing but the text."""
        return "".join(one.value for one in told)

    def expected(self, whole: Said) -> str:
        """Of the attempt that stands."""
        return whole.text


class TestNative(FormatContract):
    """``text/event-stream``."""

    stage = NativeStage()


class TestNDJSON(FormatContract):
    """``application/x-ndjson``."""

    stage = NDJSONStage()


class TestText(FormatContract):
    """``text/plain``."""

    stage = TextStage()

    def test_a_position_amid_reasoning_is_in_the_log(self) -> None:
        """Contract section 5: whoever has been sent nothing of the void attempt is not broken off."""
        log = write([("restart", 0, [(1, "a", 0), (1, "b", 0)], 0), ("restart", 0, [(0, "x", 0)], 0)], "completed")
        assert [(served.broken, served.body) for served in [self.stage.serve(log, log[2].position)]] == [(False, b"x")]

    def test_nothing_was_sent_with_an_empty_delta(self) -> None:
        """Contract section 5: a void attempt is left out for whoever has not been sent any of it."""
        log = write([("restart", 0, [(0, "void", 0)], 0), ("restart", 0, [(0, "x", 0)], 0)], "completed")
        log[2] = Entry(log[2].position, TextDelta(0, ""))
        live, resumed = self.stage.serve(log, replayed=3), self.stage.serve(log, log[2].position)
        assert [(served.broken, served.body) for served in (live, resumed)] == [(False, b"x")] * 2
