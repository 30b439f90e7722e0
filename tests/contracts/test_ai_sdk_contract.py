"""The AI SDK's UI message stream, through the contract of formats. Contract section 5."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from api.formats.ai_sdk import AiSdkFold
from api.formats.ai_sdk_index import ChunkIndex
from broker.content import Block, ContentFold
from broker.events import Cancelled, Completed, Entry, Failed
from broker.submission import Submission
from tests.contracts.formats import FormatContract, FormatStage, Told, effort, submitted
from tests.contracts.histories import logs
from tests.contracts.stage import Said
from tests.support.ui_message import Message, Part
from tests.support.whatwg import EventSourceParser

DONE = "[DONE]"


class AiSdkStage(FormatStage):
    """A reader of the UI message stream that, unlike useChat, knows the ids of the frames."""

    name = "ai-sdk"

    def read(self, chunks: Iterable[bytes]) -> list[Told]:
        """As the HTML standard says; the AI SDK's own parser is one of the same standard."""
        parser = EventSourceParser()
        told: list[Told] = []
        last = ""
        for chunk in chunks:
            for event in parser.feed(chunk):
                assert event.type == "message"
                value = DONE if event.data == DONE else json.loads(event.data)
                fresh, last = event.last_event_id != last, event.last_event_id
                told.append(Told(last if fresh else None, value))
        assert (parser.ignored, parser.empty_blocks, parser.pending) == ([], 0, False)
        return told

    def answer(self, told: Iterable[Told]) -> Any:
        """The message that is shown in the end."""
        message = Message()
        for one in told:
            if one.value != DONE:
                message.take(one.value)
        said = {
            kind: "".join(part.text for part in message.parts if part.kind == kind) for kind in ("text", "reasoning")
        }
        calls = [
            (p.call_id, p.name, p.input if p.input is not None else p.text) for p in message.parts if p.kind == "tool"
        ]
        return sorted(said["text"]), said["reasoning"], calls

    def expected(self, whole: Said) -> Any:
        """A refusal is text here; where it stands amid other text, the blocks of the answer say (below)."""
        calls = [(call_id, name, json.loads(text) if done else text) for call_id, name, text, done in whole.tools]
        return sorted(whole.text + whole.refusal), whole.reasoning, calls

    def ends(self, told: Told) -> bool:
        """By the end mark."""
        return told.value == DONE


class TestAiSdk(FormatContract):
    """``?format=ai-sdk``."""

    stage = AiSdkStage()


def message_of(log: list[Entry], submission: Submission | None = None) -> Message:
    """What useChat shows of a log."""
    message = Message()
    for chunk in chunks_of(log, submission):
        if chunk != DONE:
            message.take(chunk)
    return message


def chunks_of(log: list[Entry], submission: Submission | None = None) -> list[Any]:
    """All chunks of a log, and the end mark."""
    fold = AiSdkFold(submission or submitted(log))
    state, frames = fold.start(), list[bytes]()
    for entry in log:
        state, more = fold.step(state, entry)
        frames += more
    return [one.value for one in AiSdkStage().read(frames)]


@effort
@given(logs)
def test_a_message_has_the_blocks_of_the_answer(log: list[Entry]) -> None:
    """What is shown as it comes and what is retrieved later are the same, in the same order; nothing stays open."""
    content = ContentFold()
    for entry in log:
        content.apply(entry.event)
    message = message_of(log)
    ended = isinstance(log[-1].event, Completed | Failed | Cancelled)
    assert [_shown(part) for part in message.parts] == [_held(block, content.provider) for block in content.blocks()]
    assert not ended or [part for part in message.parts if part.state == "streaming"] == []
    assert [mark for mark in message.marks if mark == "finish"] == ["finish"] * ended


def _shown(part: Part) -> tuple[Any, ...]:
    if part.kind == "tool":
        return part.call_id, part.name, part.state == "available", part.text if part.input is None else part.input
    return part.kind, part.text, part.metadata


def _held(block: Block, provider: str) -> tuple[Any, ...]:
    if block.kind == "tool_call":
        return block.call_id, block.name, block.whole, json.loads(block.text) if block.whole else block.text
    said = {name: value for name in ("signature", "opaque") if (value := getattr(block, name)) is not None}
    return "reasoning" if block.kind == "reasoning" else "text", block.text, {provider: said} if said else None


@effort
@given(logs, st.integers(0, 60), st.integers(1, 4))
def test_a_chunk_is_found_by_its_number(log: list[Entry], number: int, page: int) -> None:
    """Contract section 5: with startIndex=n a reader goes on at the n-th chunk, and with -n at the last n."""
    chunks = [chunk for chunk in chunks_of(log) if chunk != DONE]
    number = min(number, len(chunks))
    for wanted, first in ((number, number), (-number, len(chunks) - number if number else 0), (-len(chunks) - 1, 0)):
        index = ChunkIndex(submitted(log), wanted)
        for start in range(0, len(log), page):
            if index.take(log[start : start + page]):
                break
        cursor = index.cursor()
        assert cursor is not None
        told = [one.value for one in AiSdkStage().read([AiSdkStage().serve(log, cursor).body])]
        assert [one for one in told if one != DONE] == chunks[first:]
    index = ChunkIndex(submitted(log), len(chunks) + 1)
    assert not index.take(log)
    assert (index.count, index.cursor()) == (len(chunks), None)
